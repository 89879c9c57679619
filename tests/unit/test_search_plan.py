"""The `[search]` section: what is refused, in one line, and what a search's identity depends on."""

from pathlib import Path

import pytest

from lai_net.errors import InputError
from tune.encoder_fit import misfits
from tune.search.plan import SearchPlan, plan_search
from tune.spec.cells import expand
from tune.spec.study import load_study

STUDY = """
name = "s"
seeds = [3, 7]
[[datasets]]
name = "demo"
corpus = "embedded"
[datasets.ner]
preset = "demo-ner"
set = { "training.epochs" = 9 }
[search]
phase = "NER"
[search.space]
"training.head_lr" = { log = [1e-4, 1e-2] }
[search.budget]
trials = 10
"""


def planned(folder: Path, *changes: tuple[str, str], text: str = STUDY) -> SearchPlan:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "study.toml").write_text(text)
    return plan_search(load_study(folder / "study.toml"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'phase = "NER"',
            'phase = "NER"\nsmapler = "tpe"',
            "search: unknown key 'smapler'; known: budget, confirm",
        ),
        (
            'phase = "NER"',
            'phase = "NER"\nmax_concurrent = 2',
            "search: unknown key 'max_concurrent'; known: ",
        ),
        ('phase = "NER"', 'phase = "NER"\nsampler = "cma"', "search.sampler: "),
        (
            "log = ",
            "logarithm = ",
            r"search.space.training.head_lr: unknown key 'logarithm'; known: choice, int, log, uniform",
        ),
        ("log = [1e-4, 1e-2]", "log = [1e-2, 1e-4]", "must rise"),
        ("log = [1e-4, 1e-2]", "log = [0.0, 1e-2]", "log must begin above 0"),
        (
            "log = [1e-4, 1e-2]",
            "log = [1e-4, 1e-2], choice = [1.0]",
            "exactly one of uniform, log, int, choice",
        ),
        ("log = [1e-4, 1e-2]", "choice = [1.0, 1.0]", "choice must be distinct"),
        ("log = [1e-4, 1e-2]", "choice = [1, 1.0]", "choice must be distinct"),
        ('"training.head_lr" = { log = [1e-4, 1e-2] }', "", "search.space: "),
        ("trials = 10", "trials = 0", "search.budget.trials: "),
        (
            "[search.budget]",
            '[search.scheduler]\nname = "none"\nnoise_margin = 1.0\n[search.budget]',
            "search.scheduler: 'none' stops nothing, so noise_margin does nothing",
        ),
        ("trials = 10", "", "budget needs trials, epochs or hours"),
        ("seeds = [", "seeds = [4294967295, ", "confirm takes fresh seeds up to 4294967300"),
        ("seeds = [", f"seeds = [1{'0' * 5000}, ", "cannot be read as TOML"),
        ('phase = "NER"', 'phase = "RE"', "has no re base"),
        ('phase = "NER"', 'phase = "NER"\ndataset = "other"', "'other' is not in the study; it has demo"),
        ('phase = "NER"', 'phase = "NER"\nfold = 1', "has no folds"),
        ('phase = "NER"', 'phase = "NER"\nseeds_per_config = 3', "seeds_per_config is 3, but seeds has 2"),
        ('phase = "NER"', 'phase = "NER"\nsampler = "grid"', "'grid' needs a finite space"),
        ('"training.epochs" = 9', '"training.epochs" = 9, "training.selection" = "test"', "selects on test"),
        (
            "[search.budget]",
            "[search.scheduler]\ngrace_period = 1\n[search.budget]",
            "cold start lasts up to 1",
        ),
        ("[search.budget]", "[search.scheduler]\ngrace_period = 9\n[search.budget]", "no rung fits"),
        ("[search.budget]", "[factors]\ngcn_layers = [1]\n[search.budget]", "[factors] or a [search]"),
        ("log = [1e-4, 1e-2]", f"int = [1, {2**53 + 1}]", "training.head_lr: int must lie within ±2**53"),
        ("head_lr", "head_rl", "unknown setting 'training.head_rl'"),
    ],
)
def test_wrong_section_is_one_line_with_its_place(tmp_path, old, new, said):
    with pytest.raises(InputError) as caught:
        planned(tmp_path, (old, new))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'study.toml'}: ")
    assert "\n" not in str(caught.value)


def test_an_integer_without_end_is_planned_at_once(tmp_path):
    given = '"training.head_lr" = { log = [1e-4, 1e-2] }'
    wide = (given, f'"training.batch_size" = {{ int = [1, {2**53}] }}')
    assert misfits(planned(tmp_path, wide)) == []
    heads = (given, f'"graph.heads" = {{ int = [384, {2**53}] }}')
    first, *_ = misfits(planned(tmp_path, heads))
    assert "graph.heads must divide the width 384 of encoder minilm, but got 385" in first


def test_rungs_begin_after_the_cold_start_whatever_is_drawn(tmp_path):
    assert planned(tmp_path).rules.rungs == ((2, 6),)
    cold = ('"training.head_lr"', '"filter.cold_epochs" = { int = [0, 3] }\n"training.head_lr"')
    assert planned(tmp_path, cold).rules.rungs == ((4,),)
    none = ("[search.budget]", '[search.scheduler]\nname = "none"\n[search.budget]')
    assert planned(tmp_path, none).rules.rungs == ((),)


def test_fresh_seeds_lie_beyond_all_seeds_of_the_study(tmp_path):
    plan = planned(tmp_path)
    assert plan.rules.seeds == (3,)
    assert plan.fresh_seeds == (8, 9, 10, 11, 12)


def test_fewer_trials_than_a_config_starts_with_are_refused(tmp_path):
    two = ('phase = "NER"', 'phase = "NER"\nseeds_per_config = 2')
    with pytest.raises(InputError, match=r"budget.trials is 1, less than the seeds_per_config \(2\)"):
        planned(tmp_path, two, ("trials = 10", "trials = 1"))
    assert planned(tmp_path, two, ("trials = 10", "trials = 2")).budget["trials"] == 2


def test_fold_is_the_first_unless_named(tmp_path):
    folds = ('corpus = "embedded"', 'corpus = "embedded"\nfolds = 10')
    assert planned(tmp_path, folds).fold == 0
    assert planned(tmp_path, folds, ('phase = "NER"', 'phase = "NER"\nfold = 9')).fold == 9
    with pytest.raises(InputError, match="folds 0 to 9"):
        planned(tmp_path, folds, ('phase = "NER"', 'phase = "NER"\nfold = 10'))
    some = ('corpus = "embedded"', 'corpus = "embedded"\nfolds = 10\nonly_folds = [4, 5]')
    assert planned(tmp_path, some).fold == 4
    with pytest.raises(InputError, match="fold is 0, which is not among only_folds"):
        planned(tmp_path, some, ('phase = "NER"', 'phase = "NER"\nfold = 0'))


def test_identity_is_of_what_decides_and_not_of_what_may_grow(tmp_path):
    own = planned(tmp_path).search_id
    for old, new in [
        ("trials = 10", "trials = 99\nhours = 3"),
        ("trials = 10", "trials = 10\n[search.confirm]\nbest = 1\nseeds = 9"),
        ('name = "s"', 'name = "t"'),
        ("seeds = [3, 7]", "seeds = [3, 7, 8]"),
    ]:
        assert planned(tmp_path, (old, new)).search_id == own
    for old, new in [
        ("1e-2", "2e-2"),
        ('phase = "NER"', 'phase = "NER"\nseed = 1'),
        ('phase = "NER"', 'phase = "NER"\nsampler = "random"'),
        ('phase = "NER"', 'phase = "NER"\nseeds_per_config = 2'),
        ("[search.budget]", "[search.scheduler]\nnoise_margin = 0.5\n[search.budget]"),
        ('"training.epochs" = 9', '"training.epochs" = 8'),
    ]:
        assert planned(tmp_path, (old, new)).search_id != own


def test_search_has_no_cells_and_a_table_study_no_search(tmp_path):
    assert expand(planned(tmp_path).study) == []
    with pytest.raises(InputError, match="has no \\[search\\]"):
        plan_search(load_study("demo"))


def test_shipped_search_is_well_formed():
    plan = plan_search(load_study("search-demo"))
    assert plan.rules.rungs == ((2, 4),)
    assert plan.space.size is None
