"""The variance study and the decisions on imported scores with known numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from analysis.__main__ import main
from analysis.cli import app
from analysis.decisions import decide_study
from analysis.documents import read_documents
from analysis.frame import match, read_results
from analysis.statistics.summary import summarise
from analysis.tables.table import compute_table
from analysis.variance import study_variance
from lai_net.active_settings import active_settings
from lai_net.config import TrialConfig
from lai_net.errors import InputError
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, TrialRow
from tune.planning.plan import make_plan
from tune.results.table import long_table
from tune.spec.identity import evaluation_id, spec_id
from tune.spec.study import load_study

STUDY = """
name = "s"
seeds = 8
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
[factors]
gcn_layers = [0, 1, 2]
"""
DECIDE = "[decide]\nmax_seeds = 16\nstep = 8\n"
BASE = [0.60, 0.62, 0.58, 0.61, 0.59, 0.60, 0.63, 0.57]


def with_datasets(*names: str) -> str:
    more = "".join(f'[[datasets]]\nname = "{name}"\n[datasets.ner]\npreset = "demo-ner"\n' for name in names)
    return STUDY.replace("[factors]", f"{more}[factors]")


@pytest.fixture
def rows(result_row: Any) -> list[dict[str, Any]]:
    """The base; no layers, 3 points below it but for 0.01; two layers, 0.1 points above or below."""
    made = []
    for seed, f1 in enumerate(BASE):
        about = 0.0001 if seed % 2 else -0.0001
        made += [
            result_row(round(score, 6), seed=seed, gcn_layers=layers, gcn_heads=heads)
            for layers, heads, score in (
                (0, "", f1 - 0.03 + about), (1, 4, f1), (2, 4, f1 + (0.001 if seed % 2 else -0.001)),
            )
        ]  # fmt: skip
    return made


def test_a_family_is_summarised_ranked_and_split_into_components(imported: Any, rows: Any) -> None:
    paths = imported(STUDY, rows)
    result = study_variance(paths.ledger, load_study(paths.study))
    (family,) = result.families
    zero, base, two = family.cells
    assert [cell.seeds.n for cell in family.cells] == [8, 8, 8]
    assert base.seeds.mean == pytest.approx(100 * np.mean(BASE))
    assert base.comparison is None
    assert zero.comparison is not None
    assert zero.comparison.delta.mean == pytest.approx(-3)
    assert (zero.comparison.p, zero.comparison.p_adjusted) == (2 / 2**8, 4 / 2**8)
    assert two.comparison is not None
    assert two.comparison.p == 1.0
    assert [len(cell.convergence) for cell in family.cells] == [8, 8, 8]
    assert family.ranking is not None
    assert family.ranking.best[0] == 0
    assert family.ranking.best[1] == pytest.approx(0.5, abs=0.02)
    sources = {item.source: item.variance for item in family.components}
    assert sources["seed"] == pytest.approx(np.var(np.multiply(BASE, 100), ddof=1), rel=0.02)
    assert result.corpora == ()
    assert [item.state for item in result.decisions] == ["different", "equivalent"]


def test_differences_that_are_all_equal_are_not_ranked(imported: Any, result_row: Any) -> None:
    """Two seeds at which a level gains the same say nothing of how it gains at others."""
    scores = {1: 0.60, 2: 0.61}
    rows = [result_row(f1, seed=seed, gcn_layers=layers) for layers, f1 in scores.items() for seed in (0, 1)]
    paths = imported(STUDY, rows)
    (family,) = study_variance(paths.ledger, load_study(paths.study)).families
    _, base, two = family.cells
    assert (base.seeds.std, base.seeds.ci_low) == (0.0, None)
    assert two.comparison is not None
    assert two.comparison.delta.ci_low is two.comparison.effect is two.comparison.seeds_needed is None
    assert family.ranking is None
    words = ["variance", str(paths.study), "--ledger", str(paths.ledger)]
    text = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert "no ranking: two levels differ by the same at every seed" in text
    table = compute_table(paths.cells, "2")
    assert "interval of the mean, none where all scores are equal." in " ".join(table.notes)
    assert table.grid.lines[0].entries[1].remarks == ("[2/8]",)


def test_two_corpora_are_crossed_with_levels_and_seeds(imported: Any, rows: Any) -> None:
    second = [row | {"dataset": "Other", "f1": row["f1"] + 0.1} for row in rows if row["seed"] < 5]
    paths = imported(with_datasets("Other"), rows + second)
    (corpora,) = study_variance(paths.ledger, load_study(paths.study)).corpora
    assert (corpora.datasets, corpora.levels, corpora.shared) == (("SciERC", "Other"), ("0", "1", "2"), 5)
    sources = {item.source: item.variance for item in corpora.components}
    assert len(sources) == 7
    assert sources["corpus"] == pytest.approx(10**2 / 2)  # ± 5 points around the mean
    assert sources["corpus:level"] == pytest.approx(0, abs=1e-9)


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


def test_a_corpus_without_scores_does_not_hide_the_others(imported: Any, rows: Any) -> None:
    second = [row | {"dataset": "Other"} for row in rows if row["gcn_layers"] != 2]
    paths = imported(with_datasets("Other", "Later"), rows + second)
    (corpora,) = study_variance(paths.ledger, load_study(paths.study)).corpora
    assert (corpora.datasets, corpora.levels, corpora.shared) == (("SciERC", "Other"), ("0", "1"), 8)


def test_corpora_without_any_score_are_none(imported: Any, rows: Any) -> None:
    paths = imported(with_datasets("Other"), [rows[0] | {"dataset": "Elsewhere"}])
    assert study_variance(paths.ledger, load_study(paths.study)).corpora == ()


def test_an_open_level_asks_for_the_seeds_of_the_next_look(imported: Any, rows: Any) -> None:
    shaken = [row | {"f1": row["f1"] + (0.02 if row["seed"] % 3 else -0.02) * (row["gcn_layers"] == 2)}
              for row in rows]  # fmt: skip
    paths = imported(STUDY + DECIDE, shaken)
    zero, two = decide_study(paths.ledger, load_study(paths.study))
    assert (zero.state, zero.look, zero.missing) == ("different", 1, ())
    assert zero.p_adjusted == pytest.approx(2 / 2**8 * 2 * 2)  # two comparisons, two looks
    assert (two.state, two.n, two.missing, two.base_missing) == (
        "open", 8, tuple(range(8, 16)), tuple(range(8, 16))
    )  # fmt: skip
    assert decide_study(paths.ledger.with_name("none"), load_study(paths.study))[0].missing == tuple(range(8))


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


def test_seeds_that_were_added_are_in_the_frame(tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(STUDY + DECIDE)
    trial = next(item for item in make_plan(load_study(study)).trials if item.config.graph.layers == 1)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        for seed in (7, 8, 16):
            record(ledger, f"t{seed}", trial.config, seed, [[3, 3, 2], [1, 1, 1]])
        for text, seeds in ((STUDY, [7]), (STUDY + DECIDE, [7, 8])):
            study.write_text(text)
            parsed = load_study(study)
            cells = {cell.place.cell.level: cell for cell in match(parsed, long_table(ledger, parsed))}
            assert list(cells["1"].scores) == seeds
        (counts,) = read_documents(ledger, cells["1"])
        assert counts.tolist() == [[[[3, 3, 2]], [[1, 1, 1]]]] * 2
        assert read_documents(ledger, cells["0"]) == ()
    (family,) = study_variance(tmp_path / "ledger.sqlite", parsed).families
    documents = family.cells[1].documents
    assert documents is not None
    assert (documents.documents, documents.score) == (2, 75.0)


def record(ledger: Ledger, trial_id: str, config: TrialConfig, seed: int, counts: list[list[int]]) -> None:
    row = TrialRow(
        trial_id=trial_id, config_id="config", spec_id=spec_id(config), dataset="SciERC", phase="NER",
        fold=None, seed=seed, config=active_settings(config), corpus_id="corpus", encoder_id="encoder",
    )  # fmt: skip
    score = {"task": "NER", "protocol": "pure", "averaging": "micro", "precision": 0.75, "recall": 0.75}
    evaluation = EvaluationRow(
        evaluation_id=evaluation_id(trial_id, None, "test", "predicted"), trial_id=trial_id,
        upstream_trial_id=None, split="test", entities="predicted", scores=[score | {"f1": 0.75}],
        documents=[{"task": "NER", "protocol": "pure", "labels": ["X"], "counts": counts}],
    )  # fmt: skip
    ledger.register_trials([row])
    ledger.start_attempt(trial_id, 1, {})
    ledger.finish_attempt(trial_id, 1, "completed", evaluations=[evaluation])


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


def test_intervals_of_tables_are_those_asked_for(imported: Any, rows: Any) -> None:
    paths = imported(STUDY, rows)
    scores = [100 * score for score in BASE]
    for interval, said in ((None, "Student-t"), ("bca", "BCa bootstrap")):
        table = compute_table(read_results(paths.ledger, paths.study, interval).cells, "2")
        (row,) = (row for row in table.rows if (row.level, row.metric) == ("1", "f1"))
        expected = summarise(scores, interval=interval or "t")
        assert (row.ci_low, row.ci_high) == pytest.approx((expected.ci_low, expected.ci_high))
        assert said in " ".join(table.notes)
    paths.study.write_text(STUDY + '[report]\ninterval = "bca"\n')
    assert set(paths.cells["interval"]) == {"bca"}


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


def test_without_a_plan_of_seeds_none_are_exhausted(imported: Any, rows: Any) -> None:
    few = [row for row in rows if row["seed"] < 2]
    shaken = [row | {"f1": row["f1"] + 0.01 * row["seed"] * row["gcn_layers"]} for row in few]
    for study, state in ((STUDY, "open"), (STUDY + "[decide]\nmax_seeds = 2\n", "exhausted")):
        paths = imported(study.replace("seeds = 8", "seeds = 2"), shaken)
        decisions = study_variance(paths.ledger, load_study(paths.study)).decisions
        assert {item.state for item in decisions} == {state}


def test_without_a_plan_of_seeds_the_one_look_is_at_all_that_there_are(imported: Any, rows: Any) -> None:
    """Imported seeds beyond the study's count in the tables, so they do here."""
    paths = imported(STUDY.replace("seeds = 8", "seeds = 3"), rows)
    found = study_variance(paths.ledger, load_study(paths.study))
    assert [(item.level, item.n, item.state) for item in found.decisions] == [
        ("0", 8, "different"), ("2", 8, "equivalent"),
    ]  # fmt: skip
    versus = found.families[0].cells[0].comparison
    assert versus is not None
    assert versus.p_adjusted == found.decisions[0].p_adjusted


def test_without_a_plan_of_seeds_each_family_is_judged_on_its_pairs_as_in_the_tables(
    imported: Any, rows: Any
) -> None:
    """Seeds that a level or another dataset has alone keep no other from being judged."""
    rows = [row for row in rows if row["gcn_layers"] != 0 or row["seed"] < 7]
    other = [
        rows[0] | {"dataset": "Other", "gcn_layers": 1, "gcn_heads": 4, "seed": seed} for seed in (77, 78)
    ]
    paths = imported(with_datasets("Other"), rows + other)
    found = [
        item
        for item in study_variance(paths.ledger, load_study(paths.study)).decisions
        if item.dataset == "SciERC"
    ]
    assert [(item.level, item.n, item.state) for item in found] == [
        ("0", 7, "different"), ("2", 8, "equivalent"),
    ]  # fmt: skip
    (row,) = [
        row
        for row in compute_table(paths.cells, "2").rows
        if (row.dataset, row.level, row.metric) == ("SciERC", "0", "f1")
    ]
    assert (row.mark, row.p_adjusted) == ("*", found[0].p_adjusted)


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


@pytest.mark.parametrize("num_seeds", [1, 7])
def test_a_level_that_lacks_seeds_is_not_ranked_and_spoils_no_ranking(
    imported: Any, rows: Any, num_seeds: int
) -> None:
    paths = imported(STUDY, [row for row in rows if row["gcn_layers"] != 2 or row["seed"] < num_seeds])
    (family,) = study_variance(paths.ledger, load_study(paths.study)).families
    assert (family.ranked, family.shared) == (("0", "1"), 8)
    assert family.ranking is not None
    assert [item.source for item in family.components] == ["seed", "level", "seed:level"]


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


def test_a_search_has_no_variance_study(tmp_path: Path) -> None:
    Ledger.open(tmp_path / "ledger.sqlite").close()
    with pytest.raises(InputError, match="name a study with tables"):
        study_variance(tmp_path / "ledger.sqlite", load_study("search-demo"))


def test_nothing_done_yet_is_said(imported: Any, rows: Any) -> None:
    paths = imported(STUDY, [rows[0] | {"dataset": "Elsewhere"}])
    words = ["variance", str(paths.study), "--ledger", str(paths.ledger)]
    assert "no cell has a score yet" in CliRunner().invoke(app, words, catch_exceptions=False).stdout
