"""The model's commands of `lai`; every command imports what it needs when it runs."""

import typer

from lai_net.corpus_commands import app as corpus_app
from lai_net.model_commands import predict, save
from lai_net.score_command import score
from lai_net.train_command import train

app = typer.Typer(no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")
app.command()(train)
app.command()(predict)
app.command()(save)
app.command()(score)
