"""Learning curves of a study by config, and whether they have levelled off, by hand-made numbers."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest
from scipy import stats

from analysis.figures.drawing import ONE_COLUMN
from analysis.figures.learning_curves import (
    caption_of_learning_curves,
    compute_learning_curves,
    draw_learning_curves,
)
from analysis.frame import read_results
from analysis.levelling import ConfigCurves, Measure, config_curves, levelling
from lai_net.config import TrialConfig
from lai_net.settings import with_settings
from tune.ledger.ledger import Ledger
from tune.results.importing import import_csv

STUDY = """
name = "s"
seeds = [1, 2, 3]
[[datasets]]
name = "SciERC"
folds = {folds}
[datasets.ner]
preset = "demo-ner"
set = {{ "training.epochs" = 3 }}
[factors]
gcn_layers = [0, 1]
mask = ["Inv.", "Full"]
"""
Curves = Mapping[str, tuple[float, ...]]


def with_curves(imported: Any, rows: list[dict[str, Any]], curves: Curves, folds: int = 1) -> Any:
    """A study's results, whose trials have these dev F1 (0-1) by epoch."""
    paths = imported(STUDY.format(folds=folds), rows)
    file = Path(paths.ledger).with_name("curves.csv")
    lines = [f"{name},{n},{f1}" for name, curve in curves.items() for n, f1 in enumerate(curve, start=1)]
    file.write_text("\n".join(["trial_id,epoch,f1", *lines]) + "\n")
    with Ledger.open(paths.ledger) as ledger:
        import_csv(file.with_name("rows.csv"), ledger, file)
    return read_results(paths.ledger, paths.study)


def test_a_config_has_the_whole_curves_of_its_completed_trials_once(imported: Any, result_row: Any) -> None:
    rows = [result_row(0.6, seed=seed, trial_id=f"b{seed}") for seed in (1, 2, 3, 4)]
    rows += [result_row(0.5, seed=1, trial_id="l", gcn_layers=0, gcn_heads="")]
    curves = {"b1": (0.1, 0.2, 0.3), "b2": (0.2, 0.3, 0.5), "b3": (0.2, 0.3), "l": (0.1, 0.1, 0.4),
              "b4": (0.1, 0.2, 0.3, 0.4)}  # fmt: skip
    other, base = config_curves(with_curves(imported, rows, curves))
    assert (base.dataset, base.phase, base.is_base, other.is_base) == ("SciERC", "NER", True, False)
    assert base.by_seed == {1: pytest.approx((10, 20, 30)), 2: pytest.approx((20, 30, 50))}, (
        "b3 lacks one, b4 has more"
    )
    assert other.by_seed == {1: pytest.approx((10, 10, 40))}


def test_folds_are_averaged_within_a_seed(imported: Any, result_row: Any) -> None:
    rows = [
        result_row(0.6, seed=seed, fold=fold, trial_id=f"t{seed}{fold}") for seed in (1, 2) for fold in (0, 1)
    ]
    curves = {"t10": (0.1, 0.2, 0.3), "t11": (0.3, 0.4, 0.5), "t20": (0.1, 0.2, 0.3), "t21": (0.1, 0.2)}
    (base,) = config_curves(with_curves(imported, rows, curves, folds=2))
    assert base.by_seed == {1: pytest.approx((20, 30, 40))}, "a fold of seed 2 lacks an epoch"


DEV = Measure("dev F1", is_between_gold=False)


def curves_of(*by_seed: tuple[float, ...], is_base: bool = False) -> ConfigCurves:
    return ConfigCurves("SciERC", "NER", DEV, is_base, dict(enumerate(by_seed)))


def test_the_gain_is_over_seeds_and_the_spread_within_configs() -> None:
    base = curves_of((50, 58, 60), (50, 60, 64), is_base=True)
    other = curves_of((40, 47, 51), (40, 50, 52))
    (found,) = levelling([other, base])
    gains = [(2 + 4) / 2, (4 + 2) / 2]
    assert (found.epochs, found.last, found.num_configs, found.gain.n) == (3, 1, 2, 2)
    assert found.gain.mean == pytest.approx(sum(gains) / 2)
    assert found.spread == pytest.approx(math.sqrt((stdev((60, 64)) ** 2 + stdev((51, 52)) ** 2) / 2))


def test_a_config_that_lacks_a_seed_of_the_base_is_left_out() -> None:
    """Else a seed would be a mean over other configs than the next."""
    base, more = curves_of((1, 60), (1, 64), is_base=True), curves_of((1, 51), (1, 52), (1, 99))
    (found,) = levelling([base, curves_of((1, 9)), more])
    assert found.num_configs == 2
    assert found == levelling([base, curves_of((1, 51), (1, 52))])[0]


def test_the_interval_is_students() -> None:
    (found,) = levelling([curves_of((1, 2), (1, 4), (1, 3), is_base=True)])
    half = stats.t.ppf(0.975, 2) * stdev((1, 3, 2)) / math.sqrt(3)
    assert (found.gain.ci_low, found.gain.ci_high) == pytest.approx((2 - half, 2 + half))


@pytest.mark.parametrize(("epochs", "last"), [(2, 1), (10, 1), (14, 1), (30, 3)])
def test_the_end_is_the_last_tenth(epochs: int, last: int) -> None:
    (found,) = levelling([curves_of(*(tuple(map(float, range(epochs))) for _ in range(2)), is_base=True)])
    assert (found.last, found.gain.mean) == (last, last)


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((0.1, -0.1, 0.0, 0.1), "levelled off"),
        ((-0.9, -1.0, -0.8, -0.9), "levelled off"),
        ((3.0, 3.1, 2.9, 3.0), "not levelled off, still rising"),
        ((0.9, 2.0, 0.1, 1.0), "not shown to have levelled off"),
        ((-3.0, -3.1, -2.9, -3.0), "not shown to have levelled off"),
        ((1.0,), "one seed cannot tell whether training had levelled off"),
        ((3.0, 3.0), "equal gains at every seed cannot tell whether training had levelled off"),
    ],
)
def test_the_verdict_follows_the_rule(gains: tuple[float, ...], verdict: str) -> None:
    ends = (60.0, 61.0, 62.0, 63.0)  # their standard deviation is 1.29
    (found,) = levelling(
        [curves_of(*((end - gain, end) for gain, end in zip(gains, ends, strict=False)), is_base=True)]
    )
    assert found.verdict == verdict
    assert found.sentence().endswith(f"; {verdict}.")


def test_a_sentence_says_what_it_rests_on() -> None:
    (found,) = levelling([curves_of((57, 60), (58, 61), (59.01, 62), is_base=True)])
    assert found.sentence() == (
        "SciERC NER, dev F1 in the last epoch of 2: +3.00 points (95 % interval +2.98 to +3.01 over 3 seeds, "
        "1 config), standard deviation over seeds 1.00; not levelled off, still rising."
    )


def test_other_schedules_are_not_mixed_and_one_epoch_has_no_end() -> None:
    base, longer = curves_of((1, 2), (1, 3), is_base=True), curves_of((1, 2, 9), (1, 2, 9))
    (found,) = levelling([longer, base])
    assert (found.epochs, found.num_configs) == (2, 1)
    single = [curves_of((5,), (6,), is_base=True)]
    assert levelling(single) == []
    assert compute_learning_curves(single) is None
    assert compute_learning_curves([]) is None


@pytest.mark.parametrize(
    ("phase", "change", "name", "is_between_gold"),
    [
        ("NER", {}, "dev F1", False),
        ("RE", {}, "dev F1", True),
        (
            "NER",
            {"training.selection": "test", "training.selection_averaging": "macro"},
            "test macro F1",
            False,
        ),
        ("RE", {"training.selection_entities": "ab12"}, "dev RE+ F1", False),
    ],
)
def test_what_a_curve_shows_is_what_its_epoch_is_chosen_by(
    phase: Any, change: dict[str, Any], name: str, is_between_gold: bool
) -> None:
    config = with_settings(TrialConfig(phase=phase), change)
    assert Measure.of(config) == Measure(name, is_between_gold)


def test_curves_of_another_f1_are_not_mixed_with_the_bases() -> None:
    base, same = curves_of((50, 60), (52, 62), is_base=True), curves_of((50, 60), (52, 62))
    other = dataclasses.replace(same, measure=Measure("test F1", is_between_gold=False))
    (found,) = levelling([base, same, other])
    assert (found.num_configs, found.sentence()[:18]) == (2, "SciERC NER, dev F1")


def test_a_curve_of_fewer_seeds_is_dotted_and_said_to_be() -> None:
    base, whole = curves_of((50, 60), (52, 64), is_base=True), curves_of((50, 60), (52, 62))
    figure = compute_learning_curves([base, whole, curves_of((40, 50))])
    assert figure is not None
    assert "its mean; n = 2; dotted: fewer seeds, n = 1." in caption_of_learning_curves(figure)
    (ax,) = draw_learning_curves(figure, ONE_COLUMN).axes
    assert [(list(line.get_ydata()), line.get_linestyle()) for line in ax.lines] == [
        ([51, 61], "-"), ([40, 50], ":"), ([51, 62], "-"),
    ]  # fmt: skip
    assert ax.get_title() == "SciERC NER, dev F1"


def test_the_figure_has_means_and_the_base_on_top() -> None:
    base, other = curves_of((50, 60), (52, 64), is_base=True), curves_of((40, 50))
    figure = compute_learning_curves([base, other])
    assert figure is not None
    (panel,) = figure.panels
    faint, bold = panel.lines
    assert (faint.is_base, faint.mean, all(map(math.isnan, faint.std))) == (False, (40, 50), True)
    assert (bold.is_base, bold.mean) == (True, (51, 62))
    assert bold.std == pytest.approx((stdev((50, 52)), stdev((60, 64))))
    canvas = draw_learning_curves(figure, ONE_COLUMN)
    assert canvas.get_size_inches()[0] == ONE_COLUMN
    (ax,) = canvas.axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[40, 50], [51, 62]]
