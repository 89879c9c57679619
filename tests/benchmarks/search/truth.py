"""The truth that searches are compared on: every config of a finite space at full budget, as a table.

A row is one training: its settings, its seed, and dev F1 after each epoch.
"""

import csv
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tune.commands.running import execute_study
from tune.engine import SerialEngine
from tune.ledger.ledger import Ledger
from tune.preparation import prepare
from tune.search.plan import SearchPlan, plan_search
from tune.search.report import read_search
from tune.spec.study import Study, load_study

STUDY = Path(__file__).with_name("truth.toml")
NOISE_SEED, NUM_NOISY = 2, 30
"""A second seed of so many configs, drawn at random, tells the noise."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Truth:
    """The table.

    Attributes:
        names: of the settings.
        curves: dev F1 by epoch, of each config and seed; a config is named by its settings in words.
    """

    names: tuple[str, ...]
    curves: Mapping[Key, Mapping[int, tuple[float, ...]]]

    def key(self, params: Mapping[str, Any]) -> Key:
        """The name of a config; a setting that it lacks is empty."""
        return tuple(str(params.get(name, "")) for name in self.names)


def studies() -> tuple[Study, Study]:
    """All configs with one seed, and some of them with another."""
    whole = load_study(str(STUDY))
    if whole.search is None:
        raise ValueError(f"{STUDY} has no [search]")
    budget = whole.search.budget.model_copy(update={"trials": NUM_NOISY})
    some = whole.search.model_copy(update={"sampler": "random", "budget": budget})
    return whole, whole.model_copy(update={"seeds": (NOISE_SEED,), "search": some})


def train_truth(ledger: Path) -> None:
    """Train what the ledger lacks of both studies, one trial after another."""
    from tune.trainable import execute

    with Ledger.open(ledger) as opened:
        for study in studies():
            make_engine = partial(nullcontext, SerialEngine(execute))
            prepared, folder = prepare(study, []), ledger.resolve().parent
            if code := execute_study(
                prepared, opened, folder, make_engine, None, lambda sink, _: nullcontext(sink)
            ):
                raise SystemExit(code)


def read_ledger(ledger: Path) -> Truth:
    """The table of a ledger in which both studies have ended."""
    plans = [plan_search(study) for study in studies()]
    names = tuple(dimension.name for dimension in plans[0].space.dimensions)
    truth = Truth(names, {})
    curves: dict[Key, dict[int, tuple[float, ...]]] = {}
    with Ledger.open(ledger, read_only=True) as opened:
        for plan in plans:
            for params, seed, curve in _trainings(plan, opened):
                curves.setdefault(truth.key(params), {})[seed] = curve
    return Truth(names, dict(sorted(curves.items())))


def _trainings(
    plan: SearchPlan, ledger: Ledger
) -> Iterator[tuple[Mapping[str, Any], int, tuple[float, ...]]]:
    for candidate in read_search(plan, ledger).candidates:
        if candidate.state == "complete" and candidate.same_as is None:
            for seed, scores in candidate.epochs.items():
                yield candidate.params, seed, tuple(scores[epoch] for epoch in sorted(scores))


def write_table(truth: Truth, path: Path) -> None:
    """As CSV."""
    epochs = len(next(iter(next(iter(truth.curves.values())).values())))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*truth.names, "seed", *(f"epoch_{number}" for number in range(1, epochs + 1))])
        for key, by_seed in truth.curves.items():
            for seed, curve in sorted(by_seed.items()):
                writer.writerow([*key, seed, *(f"{score:.6f}" for score in curve)])


def read_table(path: Path) -> Truth:
    """The inverse of `write_table`, but for the digits that it leaves out."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        names = tuple(header[: header.index("seed")])
        curves: dict[Key, dict[int, tuple[float, ...]]] = {}
        for row in rows:
            key, seed, curve = tuple(row[: len(names)]), int(row[len(names)]), row[len(names) + 1 :]
            curves.setdefault(key, {})[seed] = tuple(map(float, curve))
    return Truth(names, curves)
