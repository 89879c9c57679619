"""`--until-decided` and what bounds it: a study that grows by seeds.

What is decided is statistics, which this package may not import: the composition root of `lai` hands a
`Decider` to the commands.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from lai_net.errors import InputError
from tune.forecast.until_decided import Decision
from tune.spec.study import MAX_SEEDS, Decide, Study

DECIDER = "lai.decider"
"""Under this the composition root hands over the `Decider` in a command's context."""
UntilDecidedOption = Annotated[
    bool, typer.Option("--until-decided", help="Add seeds to the cells that cannot be told from their base.")
]
MaxSeedsOption = Annotated[
    int | None,
    typer.Option(min=2, max=MAX_SEEDS, help="Seeds of a cell at most; default: as the study decides."),
]

Decider = Callable[[Path, Study], Sequence[Decision]]
"""Of a ledger's file and a study with `[decide]`; a file that is not there is an empty ledger."""


def decider_of(context: typer.Context) -> Decider:
    """The decider that the composition root put into a command's context.

    Raises:
        InputError: the command runs without it.
    """
    if DECIDER not in context.meta:
        raise InputError("--until-decided needs the statistics of the whole `lai` command; call `lai`")
    decider: Decider = context.meta[DECIDER]
    return decider


def bounded_study(study: Study, max_seeds: int | None, *, until_decided: bool) -> Study | None:
    """The study with its `[decide]`, bounded by `max_seeds` where that is given; None where it does not grow.

    Raises:
        InputError: there is no bound, it is below the study's seeds, it bounds nothing, or the study is a
            search.
    """
    if not until_decided:
        if max_seeds is not None:
            raise InputError("--max-seeds bounds what --until-decided adds; add that, or leave it out")
        return None
    if study.search is not None:
        raise InputError(f"{study.file}: a search adds no seeds; `--until-decided` is for tables")
    if max_seeds is None:
        if study.decide is None:
            raise InputError(
                f"{study.file}: how many seeds at most? add --max-seeds N, or [decide] with max_seeds"
            )
        return study
    if max_seeds < len(study.seeds):
        raise InputError(f"--max-seeds must be at least the study's {len(study.seeds)}, but is {max_seeds}")
    other = {} if study.decide is None else study.decide.model_dump()
    return study.model_copy(update={"decide": Decide(**{**other, "max_seeds": max_seeds})})
