"""What the replays took, as CSV and as a page with the bar that was set before."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, stdev

import numpy as np

from tests.benchmarks.page import Bar
from tests.benchmarks.search.replay import METHODS, SLOTS, Table

BAR = 1 / 3
TPE_STARTUP = 10
"""Optuna's default of `TPESampler(n_startup_trials)`; `tune.search.sampler` leaves all its defaults but
`multivariate` and `group`, which conditional settings call for."""
BASELINE, CONTENDERS = METHODS[0].name, (METHODS[4].name, METHODS[5].name)


@dataclass(frozen=True)
class Taken:
    """Epochs until the target was reached, by method and repetition; None where it never was."""

    epochs: Mapping[str, Sequence[int | None]]

    def quartiles(self, name: str) -> tuple[float, float, float]:
        """Lower quartile, median, upper quartile; what never ended counts as endless."""
        values = [float("inf") if item is None else item for item in self.epochs[name]]
        low, high = np.quantile(values, [0.25, 0.75], method="inverted_cdf")  # it takes endless ones
        return float(low), median(values), float(high)

    def ratio(self, name: str) -> float:
        """A method's median against that of random search at full budget."""
        return self.quartiles(name)[1] / self.quartiles(BASELINE)[1]


def write_taken(taken: Taken, path: Path) -> None:
    """One line a method and repetition; no number where the target was never reached."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "repetition", "epochs"])
        for name, epochs in taken.epochs.items():
            writer.writerows(
                [name, number, "" if item is None else item] for number, item in enumerate(epochs)
            )


def page(taken: Taken, table: Table, *, date: str, commit: str, truth: str, rungs: Sequence[int]) -> str:
    """The page."""
    repetitions = len(taken.epochs[BASELINE])
    num_epochs = len(next(iter(table.curves.values())))
    good = sum(score >= table.target for score in table.scores.values())
    noisy = sum(len(by_seed) > 1 for by_seed in table.truth.curves.values())
    scores = sorted(table.scores.values())
    lines = [
        f"# Does the search pay? {date}",
        "",
        f"`make bench-search` at commit {commit}: searches replayed on a table, no training.",
        "",
        f"- Truth: {len(table.scores)} configs of heads, graph, filter, dropout and learning rate on "
        "features of a frozen encoder (three layers of MiniLM), NER on the embedded corpus (160 sentences; "
        f"dev has 113 entities), {num_epochs} epochs each, one seed: [{truth}]({truth}), trained by "
        "`make search-truth` with `lai`'s own trials. Small and synthetic: it says how the search behaves, "
        "not what is best for SciERC.",
        f"- Dev F1 at full budget: worst {scores[0]:.3f}, median {median(scores):.3f}, best "
        f"{scores[-1]:.3f}. Standard error of a score, from a second seed of {noisy} random configs: "
        f"{table.standard_error:.4f}. Within one of the best are {good} ({good / len(scores):.1%}).",
        f"- A replay is `tune.search`'s own sampler, rungs and decisions with {SLOTS} configs in flight; "
        "ASHA at its defaults (reduction factor 3), which puts rungs after epochs "
        f"{', '.join(map(str, rungs))}. It ends when a config within one standard error of the best is "
        "complete; all epochs until then count, those of stopped configs among them. The noise margin (one "
        "standard error of a mean) knows the spread of the second seeds.",
        f"- {repetitions} repetitions each, by the sampler's seed; median and quartiles.",
        "",
        "| search | epochs, median | quartiles | full trainings' worth | against random | never reached |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, epochs in taken.epochs.items():
        low, middle, high = taken.quartiles(name)
        lines.append(
            f"| {name} | {middle:.0f} | {low:.0f} to {high:.0f} | {middle / num_epochs:.1f} | "
            f"{taken.ratio(name):.2f} | {sum(item is None for item in epochs)} of {repetitions} |"
        )
    lines += ["", "| bar | wanted | measured | |", "| --- | --- | --- | --- |"]
    for name in CONTENDERS:
        bar = Bar(f"{name} against random at full budget", BAR, taken.ratio(name), at_most=True)
        lines.append(str(bar))
    expected = (len(scores) + 1) / (good + 1)
    upper = [score for score in scores if score >= median(scores)]
    lines += [
        "",
        f"What limits it here: {good} good configs of {len(scores)} are found by {expected:.1f} random draws "
        f"in the mean, and TPE draws its first {TPE_STARTUP} at random, too. A good config costs its "
        f"{num_epochs} epochs whoever finds it, and one that is stopped at the first rung {rungs[0]}. Epochs "
        "of the other configs in flight count as well. The rarer good configs are, and the longer their "
        "training, the more a search can save.",
    ]
    if stdev(upper) < table.standard_error:
        lines[-1] += (
            " And little can be learnt: the scores of the upper half of all configs have a standard "
            f"deviation of {stdev(upper):.4f}, less than the standard error of one score. Which of them are "
            "the best is mostly the chance of a seed, so a sampler can lead into the upper half and hardly "
            "further, and a rung may stop one of the best."
        )
    lines += ["", "No arm suggests a config twice. No setting of the search was tuned on this table."]
    return "\n".join(lines) + "\n"
