"""What `lai variance` prints of scores with known numbers."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from analysis.__main__ import main
from analysis.cli import app
from analysis.statistics.summary import summarise
from analysis.tables.table import compute_table
from analysis.variance import study_variance
from tests.unit.varying import BASE, DECIDE, STUDY, scores_of_three_levels, with_datasets
from tune.spec.study import load_study, with_interval


@pytest.fixture
def rows(result_row: Any) -> list[dict[str, Any]]:
    return scores_of_three_levels(result_row)


def test_what_is_compared_is_said_and_corpora_that_are_scored_otherwise(
    imported: Any, rows: Any, result_row: Any
) -> None:
    study = with_datasets("Other").replace('name = "Other"\n', 'name = "Other"\naveraging = "macro"\n')
    study = study.replace("[factors]", '[datasets.re]\npreset = "demo-re"\n[factors]')
    paths = imported(study, rows + [row | {"dataset": "Other", "averaging": "macro"} for row in rows])
    words = ["variance", str(paths.study), "--ledger", str(paths.ledger)]
    text = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert text.startswith(
        "F1 on the test split, protocol pure, averaging micro (SciERC), macro (Other), relations end to end "
        "(on predicted entities)\n"
    )
    assert "; these corpora are not scored alike: micro (SciERC), macro (Other)\n" in text
    (corpora,) = study_variance(paths.ledger, load_study(paths.study)).corpora
    assert corpora.views == (("predicted", "micro"), ("predicted", "macro"))
    alike = imported(with_datasets("Other"), [row | {"dataset": "Other"} for row in rows])
    words = ["variance", str(alike.study), "--ledger", str(alike.ledger)]
    assert "not scored alike" not in CliRunner().invoke(app, words, catch_exceptions=False).stdout


def test_a_verdict_has_the_p_and_n_of_its_look_beside_it(imported: Any, rows: Any) -> None:
    """The tables' p, of all seeds, may be above 0.05 where a look has marked a level."""
    later = [
        row | {"seed": row["seed"] + 8, "f1": row["f1"] + 0.08 * (row["gcn_layers"] == 0)} for row in rows
    ]
    paths = imported(STUDY + DECIDE, rows + later)
    words = ["variance", str(paths.study), "--ledger", str(paths.ledger)]
    text = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert "are those of the last look of [decide] at a level" in text
    level = [[part.strip() for part in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    start = next(index for index, line in enumerate(level) if line[0] == "0")
    assert [line[3] for line in level[start : start + 3]] == ["0.0312", "at n = 8", "different"]
    result = study_variance(paths.ledger, load_study(paths.study))
    versus = result.families[0].cells[0].comparison
    assert versus is not None
    assert versus.delta.n == 16
    assert versus.p_adjusted is not None
    assert versus.p_adjusted > 0.05
    paths.study.write_text(STUDY)
    text = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert "look" not in text
    assert "at n = " not in text


def test_the_command_prints_tables_or_json(imported: Any, rows: Any) -> None:
    paths = imported(STUDY, rows)
    words = ["variance", str(paths.study), "--ledger", str(paths.ledger)]
    text = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    for part in ("1 (base)", "60.00", "2.00", "equivalent", "standard deviation by source", "8 shared seeds"):
        assert part in text
    first, again = (CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False) for _ in range(2))
    assert first.stdout == again.stdout
    content = json.loads(first.stdout)
    assert content["families"][0]["cells"][1]["seeds"]["mean"] == pytest.approx(60)


def test_a_locale_without_its_characters_has_them_escaped(imported: Any, rows: Any) -> None:
    paths = imported(STUDY, rows)
    words = [sys.executable, "-m", "analysis", "variance", str(paths.study), "--ledger", str(paths.ledger)]
    result = subprocess.run(
        words, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr, "60.00 \\xb1 2.00" in result.stdout) == (0, "", True)


def test_eighty_columns_show_every_number_whole(
    imported: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.commands.console.table_console", lambda: Console(width=80))
    shaken = [row | {"f1": row["f1"] + 0.001 * row["seed"] ** 2 * (row["gcn_layers"] == 0)} for row in rows]
    paths = imported(STUDY, shaken)
    words = ["variance", str(paths.study), "--ledger", str(paths.ledger), "--json"]
    zero, base, _ = json.loads(CliRunner().invoke(app, words).stdout)["families"][0]["cells"]
    text = CliRunner().invoke(app, words[:-1], catch_exceptions=False).stdout
    assert "…" not in text
    assert max(len(line) for line in text.splitlines() if line.startswith("│")) <= 80
    for summary, sign in ((base["seeds"], ""), (zero["seeds"], ""), (zero["comparison"]["delta"], "+")):
        assert f"[{summary['ci_low']:{sign}.2f}, {summary['ci_high']:{sign}.2f}]" in text
    assert f"{base['seeds']['mean']:.2f} ± {base['seeds']['std']:.2f}" in text
    for shown in ("n = 8", "at n/2: ± ", f"g = {zero['comparison']['effect']:+.2f}", "open"):
        assert shown in text
    assert f" {zero['comparison']['seeds_needed']} " in text


def test_the_variance_study_has_the_studys_interval(imported: Any, rows: Any) -> None:
    paths = imported(STUDY, rows)
    words = ["variance", str(paths.study), "--ledger", str(paths.ledger)]
    scores = summarise([100 * score for score in BASE], interval="bca")
    asked = CliRunner().invoke(app, [*words, "--interval", "bca"], catch_exceptions=False).stdout
    paths.study.write_text(STUDY + '[report]\ninterval = "bca"\n')
    by_study = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert asked == by_study
    assert f"[{scores.ci_low:.2f}, {scores.ci_high:.2f}]" in asked
    assert "95 % BCa bootstrap intervals" in asked
    assert "too narrow for fewer than 20 seeds" in asked
    (family,) = study_variance(paths.ledger, load_study(paths.study)).families
    base = family.cells[1]
    assert (base.seeds.ci_low, base.convergence[-1].ci_low) == (scores.ci_low, scores.ci_low)
    deltas = compute_table(paths.cells, "2").rows
    ends = next((row.delta_ci_low, row.effect) for row in deltas if (row.level, row.metric) == ("2", "f1"))
    versus = family.cells[2].comparison
    assert versus is not None
    assert ends == pytest.approx((versus.delta.ci_low, versus.effect))


def test_a_verdict_goes_by_the_interval_that_is_shown_beside_it(imported: Any, rows: Any) -> None:
    paths = imported(STUDY, rows)
    ends = {}
    for interval in ("t", "bca"):
        study = with_interval(load_study(paths.study), interval)
        (family,), decisions = (found := study_variance(paths.ledger, study)).families, found.decisions
        shown = {cell.level: cell.comparison.delta for cell in family.cells if cell.comparison is not None}
        ends[interval] = {item.level: (item.ci_low, item.ci_high) for item in decisions}
        assert ends[interval] == {level: (delta.ci_low, delta.ci_high) for level, delta in shown.items()}
    assert ends["t"] != ends["bca"]


@pytest.mark.parametrize(("seeds", "state"), [(8, "open"), (20, "equivalent")])
def test_bca_of_few_seeds_shows_nothing_to_be_equivalent(
    imported: Any, result_row: Any, seeds: int, state: str
) -> None:
    """Deltas of up to 0.4 points."""
    rows = [result_row(0.6 + seed / 1000, seed=seed) for seed in range(seeds)]
    rows += [
        result_row(0.6 + seed / 1000 + (0.001, 0.004, -0.001, -0.004)[seed % 4], seed=seed, gcn_layers=2)
        for seed in range(seeds)
    ]
    paths = imported(STUDY, rows)
    study = with_interval(load_study(paths.study), "bca")
    (decision,) = [item for item in study_variance(paths.ledger, study).decisions if item.level == "2"]
    assert decision.state == state
    assert None not in (decision.ci_low, decision.ci_high)
    assert max(abs(decision.ci_low or 9), abs(decision.ci_high or 9)) < 0.5


@pytest.mark.parametrize(
    ("tied", "said"),
    [
        (
            (0, 1),
            "“0” and “1” tie and are best with probability 1.00; levels tie, so there is no whole order",
        ),
        ((1, 2), "levels tie, so there is no whole order of the means"),
        ((0, 1, 2), "on 8 shared seeds: “0” and “1” and “2” tie\n"),
    ],
)
def test_levels_that_tie_are_said_to(imported: Any, rows: Any, tied: tuple[int, ...], said: str) -> None:
    for row in rows:
        row["f1"] = BASE[row["seed"]] - (0 if row["gcn_layers"] in tied else 0.05 + 0.001 * row["seed"])
    paths = imported(STUDY, rows)
    words = ["variance", str(paths.study), "--ledger", str(paths.ledger)]
    text = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert said in text
    assert "is right with" not in text


def test_the_difference_that_matters_may_be_asked_for(imported: Any, rows: Any) -> None:
    """A [decide] keeps what it has fixed: equivalent within 0.5 points, however few are asked for."""
    for study, state in ((STUDY, "open"), (STUDY + DECIDE, "equivalent")):
        paths = imported(study, rows)
        parsed = load_study(paths.study)
        usual, small = (study_variance(paths.ledger, parsed, points) for points in (None, 0.01))
        assert (usual.min_effect, small.min_effect) == (0.5, 0.01)
        assert [item.state for item in usual.decisions] == ["different", "equivalent"]
        assert [item.state for item in small.decisions] == ["different", state]
        versus, closer = (item.families[0].cells[2].comparison for item in (usual, small))
        assert versus is not None
        assert closer is not None
        assert (versus.seeds_needed or 0) < 20 < (closer.seeds_needed or 0)
        words = ["variance", str(paths.study), "--ledger", str(paths.ledger), "--min-effect", "0.01"]
        assert "for 0.01" in CliRunner().invoke(app, words, catch_exceptions=False).stdout


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e300", "much"])
def test_a_difference_of_no_points_is_refused_in_a_line(
    imported: Any, rows: Any, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = imported(STUDY, rows)
    with pytest.raises(SystemExit) as end:
        main(["variance", str(paths.study), "--ledger", str(paths.ledger), "--min-effect", value])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "--min-effect" in said
    assert said.count("\n") == 1


def test_nothing_done_yet_is_said(imported: Any, rows: Any) -> None:
    paths = imported(STUDY, [rows[0] | {"dataset": "Elsewhere"}])
    words = ["variance", str(paths.study), "--ledger", str(paths.ledger)]
    assert "no cell has a score yet" in CliRunner().invoke(app, words, catch_exceptions=False).stdout
