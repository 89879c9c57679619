"""`make bench-search`: epochs that each way to search needs, replayed on a table of all configs.

`--ledger FILE` trains the table first (`make search-truth`, about a quarter of an hour of CPU time).
"""

import argparse
import datetime as dt
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.search.page import Taken, page, write_taken
from tests.benchmarks.search.replay import METHODS, epochs_to_target, make_table, plan_of
from tests.benchmarks.search.truth import read_ledger, read_table, studies, train_truth, write_table
from tests.commit import commit_now

OUT, TRUTH = Path("docs/benchmarks"), Path("docs/benchmarks/search-truth.csv")


def main(arguments: Sequence[str] | None = None) -> None:
    """Replay, and write `<date>-search.csv` and `.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--truth", type=Path, default=TRUTH, help="the table, read or with --ledger written")
    parser.add_argument("--ledger", type=Path, help="train what this ledger lacks, and write the table alone")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--date", default=dt.datetime.now(dt.UTC).date().isoformat())
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(arguments)
    if given.ledger is not None:
        train_truth(given.ledger)
        given.truth.parent.mkdir(parents=True, exist_ok=True)
        write_table(read_ledger(given.ledger), given.truth)
        return
    study, _ = studies()
    table = make_table(read_table(given.truth), study)
    epochs: dict[str, list[int | None]] = {}
    for method in METHODS:
        plans = [plan_of(study, method, seed) for seed in range(given.repetitions)]
        epochs[method.name] = [epochs_to_target(plan, table) for plan in plans]
        sys.stderr.write(f"{method.name}: {epochs[method.name]}\n")
    taken = Taken(epochs)
    given.out.mkdir(parents=True, exist_ok=True)
    target = given.out / f"{given.date}-search"
    write_taken(taken, target.with_suffix(".csv"))
    rungs = plan_of(study, METHODS[-1], 0).rules.rungs[0]
    text = page(taken, table, date=given.date, commit=commit_now(), truth=given.truth.name, rungs=rungs)
    target.with_suffix(".md").write_text(text, encoding="utf-8")
    sys.stdout.write(f"{target}.md\n")


if __name__ == "__main__":
    main()
