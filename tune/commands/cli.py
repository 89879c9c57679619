"""The `lai` commands of the driver. Heavy imports wait until a command runs."""

import typer

from tune.cluster.command import app as cluster_app
from tune.commands.look import status, why
from tune.commands.plan import plan
from tune.commands.results import import_, results
from tune.commands.run import run
from tune.commands.search import app as search_app
from tune.commands.verify import verify

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command("plan")(plan)
app.command("status")(status)
app.command("why")(why)
app.command("results")(results)
app.command("import")(import_)
app.command("run")(run)
app.command("verify")(verify)
app.add_typer(search_app)
app.add_typer(cluster_app, name="cluster")
