"""From a study to trials and evaluations; counts, order, ids, and what a ledger leaves to do."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from lai_net.errors import InputError
from lai_net.schema import Corpus, Document, Labels, Sentence
from tune.forecast.summary import summarize
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, TrialRow
from tune.planning.plan import Contents, IdentifiedPlan, Plan, make_plan
from tune.spec.identity import evaluation_id
from tune.spec.study import load_study, study_names

STUDY = """
name = "s"
seeds = [5, 2]
[[datasets]]
name = "d"
folds = {folds}
[datasets.ner]
preset = "demo-ner"
set = {{ "graph.layers" = 1, "graph.heads" = 4 }}
[datasets.re]
preset = "demo-re"
set = {{ "graph.layers" = 2, "graph.heads" = 4 }}
[factors]
gcn_layers = [0, 1, 2]
method = ["LAI-Net", "w/o 2nd"]
"""


def corpus(name: str, splits: tuple[str, ...] = ("train", "dev", "test")) -> Corpus:
    return Corpus(
        name=name,
        splits={split: (Document("doc", (Sentence((name, split)),)),) for split in splits},
        labels=Labels(entities={"A": "a"}, relations={"R": "r"}),
    )


def plan_of(tmp_path: Path, *, folds: int = 1, text: str = STUDY) -> Plan:
    path = tmp_path / "study.toml"
    path.write_text(text.format(folds=folds))
    return make_plan(load_study(path))


def jobs_of(plan: Plan) -> IdentifiedPlan:
    places = {(trial.dataset, trial.fold) for trial in plan.trials}
    corpora = {place: corpus(str(place)) for place in places}
    return plan.identify(Contents(corpora, dict.fromkeys(plan.encoder_names, "encoder")))


def complete(ledger: Ledger, row: TrialRow, *, status: str = "completed", **times: float) -> None:
    ledger.register_trials([row])
    ledger.start_attempt(row.trial_id, 1, {})
    ledger.finish_attempt(row.trial_id, 1, status, **times)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "cells", "seeds", "runs", "trials", "folded"),
    [
        ("demo", 36, 2, 72, 54, 18),
        ("paper-scierc", 36, 10, 360, 270, 90),
        ("paper-ace05", 36, 10, 360, 270, 90),
        ("paper-ade", 30, 10, 3000, 2300, 700),
    ],
)
def test_counts_of_the_shipped_studies(
    name: str, cells: int, seeds: int, runs: int, trials: int, folded: int, tmp_path: Path
) -> None:
    with Ledger.read_or_empty(tmp_path / "none") as ledger:
        summary = summarize(make_plan(load_study(name)), ledger)
    assert (summary.cells, summary.seeds, summary.runs) == (cells, seeds, runs)
    assert (summary.trials, summary.folded) == (trials, folded)
    assert (summary.done, summary.to_run) == (0, trials)


def test_order_is_seed_dataset_phase_base_fold(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, folds=2)
    order = [(t.seed, t.phase, t.config.graph.layers, t.fold) for t in plan.trials]
    assert order == [
        (seed, phase, layers, fold)
        for seed in (5, 2)
        for phase, levels in (("NER", (1, 0, 2)), ("RE", (2, 0, 1)))
        for layers in levels
        for fold in (0, 1)
    ]


def test_evaluations_join_re_with_the_base_ner_of_the_same_seed_and_fold(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, folds=2)
    trials = {trial.key: trial for trial in plan.trials}
    joined = [item for item in plan.evaluations if item.upstream is not None]
    assert len(joined) == 2 * 2 * 2 * 3  # splits, seeds, folds, RE configs
    for item in joined:
        re_trial, ner_trial = trials[item.trial], trials[item.upstream]
        assert (re_trial.phase, ner_trial.phase, item.entities) == ("RE", "NER", "predicted")
        assert (re_trial.seed, re_trial.fold) == (ner_trial.seed, ner_trial.fold)
        assert ner_trial.config.graph.layers == 1
    alone = [(trials[item.trial].phase, item.entities) for item in plan.evaluations if item.upstream is None]
    assert alone.count(("NER", "predicted")) == alone.count(("RE", "gold")) == 24
    assert len(set(plan.evaluations)) == len(plan.evaluations)


def test_a_model_that_types_entities_is_evaluated_on_gold_spans_too(tmp_path: Path) -> None:
    typed = '"graph.layers" = 2, "head.object_typing" = "loss"'
    plan = plan_of(tmp_path, text=STUDY.replace('"graph.layers" = 2', typed))
    trials = {trial.key: trial for trial in plan.trials}
    found = Counter((trials[item.trial].phase, item.entities) for item in plan.evaluations)
    configs, runs = 3, 2 * 2  # splits, seeds
    assert found == {
        ("NER", "predicted"): configs * runs,
        ("RE", "gold"): configs * runs,
        ("RE", "gold_typed_by_model"): configs * runs,
        ("RE", "predicted"): configs * runs,
    }


def test_changed_upstream_costs_evaluations_alone(tmp_path: Path) -> None:
    base = plan_of(tmp_path)
    changed = plan_of(tmp_path, text=STUDY.replace('name = "s"', 'name = "s"\nupstream = "changed"'))
    assert {t.key for t in changed.trials} == {t.key for t in base.trials}
    layers = {trial.key: trial.config.graph.layers for trial in changed.trials}
    joins = {(layers[item.trial], layers[item.upstream]) for item in changed.evaluations if item.upstream}
    assert joins == {(2, 1), (0, 0), (1, 1)}


def test_base_ner_is_planned_for_re_even_without_a_cell(tmp_path: Path) -> None:
    text = STUDY.replace('"graph.layers" = 1', '"graph.layers" = 0').split("[factors]")[0]
    plan = plan_of(tmp_path, text=text + "[factors]\ngcn_heads = [4]")
    assert [(t.phase, t.config.graph.layers) for t in plan.trials[:2]] == [("NER", 0), ("RE", 2)]


def test_identify_gives_unique_ids_that_depend_on_the_content(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, folds=2)
    jobs = jobs_of(plan)
    assert len({job.row.trial_id for job in jobs.trials}) == len(jobs.trials) == len(plan.trials)
    corpora = {("d", 0): corpus("changed"), ("d", 1): corpus(str(("d", 1)))}
    other = plan.identify(Contents(corpora, dict.fromkeys(plan.encoder_names, "encoder")))
    same = [a.row.trial_id == b.row.trial_id for a, b in zip(jobs.trials, other.trials, strict=True)]
    assert same == [job.row.fold == 1 for job in jobs.trials]


def test_evaluation_ids_name_the_joined_trials(tmp_path: Path) -> None:
    jobs = jobs_of(plan_of(tmp_path))
    known = {job.row.trial_id for job in jobs.trials}
    assert len({item.evaluation_id for item in jobs.evaluations}) == len(jobs.evaluations)
    for item in jobs.evaluations:
        assert {item.trial_id, item.upstream_trial_id} - {None} <= known
        assert item.evaluation_id == evaluation_id(
            item.trial_id, item.upstream_trial_id, item.split, item.entities
        )


def test_more_seeds_keep_the_ids_of_the_old_ones(tmp_path: Path) -> None:
    old = {job.row.trial_id for job in jobs_of(plan_of(tmp_path)).trials}
    grown = {
        job.row.trial_id for job in jobs_of(plan_of(tmp_path, text=STUDY.replace("5, 2", "9, 5, 2"))).trials
    }
    assert old < grown
    assert len(grown) == len(old) * 3 // 2


def test_a_corpus_without_a_split_is_refused() -> None:
    with pytest.raises(InputError, match="dataset 'd': its corpus has no dev, test split"):
        Contents({("d", None): corpus("x", ("train",))}, {})


def test_remaining_leaves_out_what_is_completed_and_recorded(tmp_path: Path) -> None:
    jobs = jobs_of(plan_of(tmp_path))
    first, second, third = (job.row for job in jobs.trials[:3])
    done = next(item for item in jobs.evaluations if item.trial_id == first.trial_id)
    with Ledger.open(tmp_path / "ledger") as ledger:
        complete(ledger, first)
        complete(ledger, second, status="failed")
        ledger.register_trials([third])
        ledger.start_attempt(third.trial_id, 1, {})
        ledger.record_evaluation(EvaluationRow(**dataclasses.asdict(done), scores=[]))
        left = jobs.remaining(ledger)
    assert left.trials == jobs.trials[1:]
    assert set(jobs.evaluations) - set(left.evaluations) == {done}


def test_done_is_counted_by_dataset_fold_seed_and_spec(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    row = jobs_of(plan).trials[0].row
    with Ledger.open(tmp_path / "ledger") as ledger:
        complete(ledger, row)
        for number, change in enumerate(({"dataset": "x"}, {"seed": 99}, {"spec_id": "x"})):
            other = dataclasses.replace(row, trial_id=str(number), config_id=f"c{number}", **change)
            if "seed" in change:
                other = dataclasses.replace(other, config_id=row.config_id)
            complete(ledger, other)
        summary = summarize(plan, ledger)
    assert (summary.done, summary.to_run) == (1, summary.trials - 1)


def test_estimate_is_the_mean_of_like_trials(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    jobs = jobs_of(plan)
    ner = [job.row for job in jobs.trials if job.row.phase == "NER"]
    relation = [job.row for job in jobs.trials if job.row.phase == "RE"]
    with Ledger.open(tmp_path / "ledger") as ledger:
        complete(ledger, ner[0], cpu_s=10.0, wall_s=20.0)
        complete(ledger, ner[1], cpu_s=30.0, wall_s=40.0)
        partly = summarize(plan, ledger)
        complete(ledger, relation[0], cpu_s=1.0, wall_s=2.0)
        whole = summarize(plan, ledger)
    assert (partly.estimate.cpu_s, partly.estimate.wall_s, partly.estimate.measured) == (None, None, 2)
    assert any("no finished trial like those of d RE" in text for text in partly.warnings)
    assert (whole.estimate.cpu_s, whole.estimate.wall_s) == (4 * 20.0 + 5 * 1.0, 4 * 30.0 + 5 * 2.0)
    assert whole.estimate.measured == 3
    assert not any("no estimate" in text for text in whole.warnings)


@pytest.mark.parametrize(
    ("num_seeds", "warns"), [(5, True), (6, True), (7, False)], ids=["5 seeds", "6 seeds", "7 seeds"]
)
def test_too_few_seeds_for_the_number_of_comparisons_are_warned_of(
    tmp_path: Path, num_seeds: int, warns: bool
) -> None:
    """Two comparisons a family: 2 * 2/2^6 = 0.0625, 2 * 2/2^7 = 0.031."""
    plan = plan_of(tmp_path, text=STUDY.replace("[5, 2]", str(num_seeds)))
    with Ledger.read_or_empty(tmp_path / "none") as ledger:
        warnings = [text for text in summarize(plan, ledger).warnings if "cannot show" in text]
    assert bool(warnings) is warns
    assert all("7 seeds can" in text and "gcn_layers" in text for text in warnings)


def test_where_types_are_shown_ner_gives_those_that_re_has_not(tmp_path: Path) -> None:
    text = STUDY.replace('method = ["LAI-Net", "w/o 2nd"]', 'model = ["LAI-Net", "PL-Marker"]')
    base = plan_of(tmp_path, text=text)
    plan = plan_of(tmp_path, text=text + '[report]\nentities = "gold_typed_by_model"')
    assert set(base.evaluations) < set(plan.evaluations)
    trials = {trial.key: trial for trial in plan.trials}
    typed = [item for item in plan.evaluations if item.entities == "gold_typed_by_model"]
    for item in typed:
        assert (trials[item.trial].config.head.object_typing == "off") is (item.upstream is not None)
        assert item.upstream is None or trials[item.upstream].phase == "NER"
    assert len(typed) == 2 * 2 * (3 + 1)  # splits, seeds, LAI-Net's configs and PL-Marker
    jobs = jobs_of(plan).evaluations
    assert len({item.evaluation_id for item in jobs}) == len(jobs)


def test_re_alone_that_types_nothing_is_warned_of_where_types_are_shown(tmp_path: Path) -> None:
    text = STUDY.replace(STUDY[STUDY.index("[datasets.ner]") : STUDY.index("[datasets.re]")], "")
    text += '[report]\nentities = "gold_typed_by_model"'
    typed = text.replace('"graph.layers" = 2', '"graph.layers" = 2, "head.object_typing" = "loss"')
    for study, warns in ((text, True), (typed, False)):
        with Ledger.read_or_empty(tmp_path / "none") as ledger:
            warnings = summarize(plan_of(tmp_path, text=study), ledger).warnings
        assert (
            any("d has no NER phase, so its RE has no types of a model" in text for text in warnings) is warns
        )


def test_re_alone_is_warned_of(tmp_path: Path) -> None:
    text = STUDY.replace(STUDY[STUDY.index("[datasets.ner]") : STUDY.index("[datasets.re]")], "")
    plan = plan_of(tmp_path, text=text)
    with Ledger.read_or_empty(tmp_path / "none") as ledger:
        assert any(
            "d has no NER phase" in text and text.endswith("shown on gold entities")
            for text in summarize(plan, ledger).warnings
        )
    assert {item.entities for item in plan.evaluations} == {"gold"}


def without_effect(plan: Plan, folder: Path) -> list[str]:
    with Ledger.read_or_empty(folder / "none") as ledger:
        return [text for text in summarize(plan, ledger).warnings if "has no effect" in text]


def test_what_a_study_sets_without_effect_in_any_cell_is_said_once(tmp_path: Path) -> None:
    ner = '"graph.layers" = 1, "graph.heads" = 4'
    text = STUDY.replace(ner, ner + ', "head.shortcut" = false, "training.compile" = true')
    text = text.replace('"graph.layers" = 2', '"filter.ratio" = 0.9, "graph.layers" = 2')
    assert without_effect(plan_of(tmp_path, text=text), tmp_path) == [
        "d, NER: head.shortcut has no effect here (the phase is NER)",
        "d, NER: training.compile has no effect here (it acts on a CUDA device alone)",
        "d, RE: filter.ratio has no effect here (the phase is RE)",
    ]
    no_layers = text.replace('"graph.layers" = 1, "graph.heads"', '"graph.layers" = 0, "graph.heads"')
    heads = "d, NER: graph.heads has no effect here (graph.layers = 0)"
    assert heads not in without_effect(plan_of(tmp_path, text=no_layers), tmp_path), "it has at other levels"
    bare = no_layers[: no_layers.index("[factors]")] + "[resources]\ngpus_per_trial = 1"
    assert without_effect(plan_of(tmp_path, text=bare), tmp_path)[0] == heads
    assert not any("compile" in text for text in without_effect(plan_of(tmp_path, text=bare), tmp_path))


def test_what_is_set_for_pl_marker_counts_where_it_is_compared(tmp_path: Path) -> None:
    text = STUDY.replace('method = ["LAI-Net", "w/o 2nd"]', 'model = ["LAI-Net", "PL-Marker"]')
    own = '[datasets.ner.plmarker]\npreset = "plmarker-ner"\nset = {{ "input.attention_mask" = "vis" }}\n'
    assert without_effect(
        plan_of(tmp_path, text=text.replace("[datasets.re]", own + "[datasets.re]")), tmp_path
    ) == ["d, NER: input.attention_mask has no effect here (without annotations Vis. is Inv.)"]


@pytest.mark.parametrize("name", study_names())
def test_a_shipped_study_sets_nothing_that_does_nothing(name: str, tmp_path: Path) -> None:
    assert without_effect(make_plan(load_study(name)), tmp_path) == []
