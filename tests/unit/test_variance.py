"""The variance study and the decisions on imported scores with known numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

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
from tests.unit.varying import BASE, DECIDE, STUDY, scores_of_three_levels, with_datasets
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, TrialRow
from tune.planning.plan import make_plan
from tune.results.table import long_table
from tune.spec.identity import evaluation_id, spec_id
from tune.spec.study import load_study


@pytest.fixture
def rows(result_row: Any) -> list[dict[str, Any]]:
    return scores_of_three_levels(result_row)


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


@pytest.mark.parametrize("num_seeds", [1, 7])
def test_a_level_that_lacks_seeds_is_not_ranked_and_spoils_no_ranking(
    imported: Any, rows: Any, num_seeds: int
) -> None:
    paths = imported(STUDY, [row for row in rows if row["gcn_layers"] != 2 or row["seed"] < num_seeds])
    (family,) = study_variance(paths.ledger, load_study(paths.study)).families
    assert (family.ranked, family.shared) == (("0", "1"), 8)
    assert family.ranking is not None
    assert [item.source for item in family.components] == ["seed", "level", "seed:level"]


def test_a_search_has_no_variance_study(tmp_path: Path) -> None:
    Ledger.open(tmp_path / "ledger.sqlite").close()
    with pytest.raises(InputError, match="name a study with tables"):
        study_variance(tmp_path / "ledger.sqlite", load_study("search-demo"))
