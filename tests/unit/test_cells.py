"""Studies expanded to cells."""

from pathlib import Path

import pytest

from lai_net.active_settings import active_settings
from lai_net.config import Phase, TrialConfig
from lai_net.errors import InputError
from lai_net.settings import with_settings
from tune.spec.baseline import as_pl_marker, model_of
from tune.spec.cells import Cell, expand
from tune.spec.study import Study, load_study

HEAD = """
name = "s"
seeds = 1
[[datasets]]
name = "d"
[datasets.ner]
preset = "demo-ner"
set = {{ "graph.layers" = {ner_layers}, "graph.heads" = 4 }}
[datasets.re]
preset = "demo-re"
set = {{ "graph.layers" = 2, "graph.heads" = 2 }}
"""


def study(tmp_path: Path, factors: str, *, ner_layers: int = 1, upstream: str = "base") -> Study:
    path = tmp_path / "study.toml"
    path.write_text(f'upstream = "{upstream}"' + HEAD.format(ner_layers=ner_layers) + "[factors]\n" + factors)
    return load_study(path)


def cell(cells: list[Cell], phase: str, factor: str, level: str) -> Cell:
    (found,) = [c for c in cells if (c.phase, c.factor, c.level) == (phase, factor, level)]
    return found


def test_layers_change_layers_alone(tmp_path: Path) -> None:
    cells = expand(study(tmp_path, "gcn_layers = [2, 1, 0]"))
    base = cell(cells, "NER", "gcn_layers", "1")
    other = cell(cells, "NER", "gcn_layers", "2")
    assert [(c.phase, c.level, c.is_base) for c in cells] == [
        ("NER", "2", False), ("NER", "1", True), ("NER", "0", False),
        ("RE", "2", True), ("RE", "1", False), ("RE", "0", False),
    ]  # fmt: skip
    assert base.config is not None
    assert other.config is not None
    assert (base.config.graph.layers, other.config.graph.layers, other.config.graph.heads) == (1, 2, 4)
    assert other.config.training == base.config.training
    assert {c.table for c in cells} == {"2"}


def test_methods_and_masks(tmp_path: Path) -> None:
    cells = expand(study(tmp_path, 'method = ["LAI-Net", "w/o 2nd", "w/o 1st"]\nmask = ["Inv.", "Full"]'))
    second = cell(cells, "RE", "method", "w/o 2nd").config
    first = cell(cells, "RE", "method", "w/o 1st").config
    full = cell(cells, "RE", "mask", "Full")
    assert second is not None
    assert first is not None
    assert full.config is not None
    assert (second.graph.layers, second.input.annotations) == (0, True)
    assert (first.graph.layers, first.input.annotations) == (0, False)
    assert (full.config.input.attention_mask, full.config.graph.layers, full.table) == ("full", 2, "5")


def test_what_does_not_exist_is_a_dash(tmp_path: Path) -> None:
    factors = 'gcn_heads = [2, 4]\nentity_filter = ["with", "without"]\nmethod = ["LAI-Net", "w/o 2nd"]'
    cells = expand(study(tmp_path, factors, ner_layers=0))
    dashes = [(c.phase, c.factor, c.level) for c in cells if c.config is None]
    assert dashes == [
        ("NER", "gcn_heads", "2"), ("NER", "gcn_heads", "4"), ("NER", "method", "w/o 2nd"),
        ("RE", "entity_filter", "with"), ("RE", "entity_filter", "without"),
    ]  # fmt: skip


def test_layers_of_a_base_without_any_take_its_latent_heads(tmp_path: Path) -> None:
    cells = expand(study(tmp_path, "gcn_layers = [0, 2]", ner_layers=0))
    config = cell(cells, "NER", "gcn_layers", "2").config
    assert config is not None
    assert active_settings(config)["graph"]["heads"] == 4


def test_filter_is_switched(tmp_path: Path) -> None:
    cells = expand(study(tmp_path, 'entity_filter = ["with", "without"]'))
    without = cell(cells, "NER", "entity_filter", "without")
    assert without.config is not None
    assert not without.config.filter.enabled
    assert not without.is_base


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ("gcn_layers = [0, 2]", "factors.gcn_layers must have '1', the level of the base of d NER"),
        ("gcn_heads = [1, 4]", "factors.gcn_heads must have '2', the level of the base of d RE"),
        ('entity_filter = ["without"]', "factors.entity_filter must have 'with'"),
        ('method = ["w/o 2nd"]', "factors.method must have 'LAI-Net'"),
        ('mask = ["Full"]', "factors.mask must have 'Inv.'"),
    ],
)
def test_the_base_level_must_be_listed(tmp_path: Path, factors: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        expand(study(tmp_path, factors))
    assert str(caught.value).startswith(f"{tmp_path}/study.toml: {message}")


def test_no_factors_is_the_base_alone(tmp_path: Path) -> None:
    assert [(c.phase, c.factor, c.level, c.is_base) for c in expand(study(tmp_path, ""))] == [
        ("NER", "method", "LAI-Net", True), ("RE", "method", "LAI-Net", True),
    ]  # fmt: skip


def test_pl_marker_is_the_base_with_another_architecture_and_finds_its_own_entities(tmp_path: Path) -> None:
    cells = expand(study(tmp_path, 'model = ["LAI-Net", "PL-Marker"]\ngcn_layers = [1, 2]'))
    for phase in ("NER", "RE"):
        ours, theirs = (cell(cells, phase, "model", level) for level in ("LAI-Net", "PL-Marker"))
        assert (ours.is_base, theirs.is_base, theirs.table) == (True, False, "1")
        assert ours.config is not None
        assert theirs.config is not None
        assert theirs.config.training == ours.config.training
        assert theirs.config.encoder == ours.config.encoder
        assert (theirs.config.input.family, theirs.config.head.kind) == ("enumerate", "linear")
        assert model_of(theirs.config) == "PL-Marker"
    ner = {level: cell(cells, "NER", "model", level).config for level in ("LAI-Net", "PL-Marker")}
    assert {level: cell(cells, "RE", "model", level).upstream for level in ner} == ner
    assert cell(cells, "RE", "gcn_layers", "1").upstream == ner["LAI-Net"]


PL_MARKER = '[datasets.{phase}.plmarker]\npreset = "{preset}"\nset = {{ "training.epochs" = 7 }}\n'


def test_a_study_names_pl_markers_own_preset(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    head, tail = HEAD.format(ner_layers=1).split("[datasets.re]")
    own = PL_MARKER.format(phase="ner", preset="first-plmarker-ner")
    path.write_text(f'{head}{own}[datasets.re]{tail}[factors]\nmodel = ["LAI-Net", "PL-Marker"]')
    cells = expand(load_study(path))
    ner, relation = (cell(cells, phase, "model", "PL-Marker").config for phase in ("NER", "RE"))
    assert ner is not None
    assert relation is not None
    assert (ner.training.epochs, ner.encoder.num_layers) == (7, 3)
    assert (relation.training.epochs, relation.head.object_typing) == (3, "loss")


@pytest.mark.parametrize(
    ("base", "own", "levels", "message"),
    [
        ("demo-ner", "demo-ner", '["LAI-Net", "PL-Marker"]', "plmarker.preset demo-ner is LAI-Net"),
        ("demo-ner", "first-plmarker-re", '["LAI-Net", "PL-Marker"]', "preset first-plmarker-re is for RE"),
        ("demo-ner", "first-plmarker-ner", '["PL-Marker"]', "factors.model must have 'LAI-Net'"),
        ("first-plmarker-ner", "demo-ner", '["LAI-Net", "PL-Marker"]', "name one of LAI-Net as the base"),
    ],
)
def test_models_that_are_not_what_they_are_called_are_refused(
    tmp_path: Path, base: str, own: str, levels: str, message: str
) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        f'name = "s"\nseeds = 1\n[[datasets]]\nname = "d"\n[datasets.ner]\npreset = "{base}"\n'
        f"{PL_MARKER.format(phase='ner', preset=own)}[factors]\nmodel = {levels}"
    )
    with pytest.raises(InputError) as caught:
        expand(load_study(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_base_of_pl_marker_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        'name = "s"\nseeds = 1\n[[datasets]]\nname = "d"\n[datasets.re]\npreset = "first-plmarker-re"'
    )
    assert [(c.factor, c.level, c.is_base) for c in expand(load_study(path))] == [
        ("model", "PL-Marker", True)
    ]


def test_pl_marker_has_none_of_the_methods(tmp_path: Path) -> None:
    """They are LAI-Net and what is left of it."""
    path = tmp_path / "study.toml"
    path.write_text(
        'name = "s"\nseeds = 1\n[[datasets]]\nname = "d"\n[datasets.re]\npreset = "first-plmarker-re"\n'
        '[factors]\nmodel = ["PL-Marker"]\nmethod = ["LAI-Net", "w/o 2nd"]'
    )
    assert [(c.level, c.is_base, c.config is None) for c in expand(load_study(path))] == [
        ("PL-Marker", True, False), ("LAI-Net", False, True), ("w/o 2nd", False, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ({}, "PL-Marker"),
        ({"input.annotations": True, "input.representation": "annotate"}, "LAI-Net"),
        ({"input.representation": "annotate"}, "PL-Marker"),
        ({"head.kind": "fc"}, "LAI-Net"),
        ({"head.kind": "fc", "graph.layers": 1}, "LAI-Net"),
        ({"input.representation": "vanilla"}, "LAI-Net"),
        ({"training.epochs": 3, "encoder.num_layers": 1}, "PL-Marker"),
    ],
)
@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_what_a_model_is_called_follows_from_its_settings(
    phase: Phase, settings: dict[str, object], model: str
) -> None:
    config = with_settings(as_pl_marker(TrialConfig(phase=phase)), settings)
    assert model_of(config) == model
    filtered = with_settings(config, {"filter.enabled": True})
    assert model_of(filtered) == (model if phase == "RE" else "LAI-Net")


def test_upstream_base_gives_every_re_cell_the_base_ner(tmp_path: Path) -> None:
    cells = expand(study(tmp_path, "gcn_layers = [0, 1, 2]"))
    base = cell(cells, "NER", "gcn_layers", "1").config
    assert [c.upstream for c in cells] == [None] * 3 + [base] * 3


def test_upstream_changed_takes_the_ner_cell_of_the_same_level(tmp_path: Path) -> None:
    factors = 'gcn_layers = [0, 1, 2]\nmask = ["Inv.", "Full"]'
    cells = expand(study(tmp_path, factors, upstream="changed"))
    for factor, level in (("gcn_layers", "0"), ("gcn_layers", "1"), ("mask", "Full")):
        assert cell(cells, "RE", factor, level).upstream == cell(cells, "NER", factor, level).config
    base = cell(cells, "NER", "gcn_layers", "1").config
    assert cell(cells, "RE", "gcn_layers", "2").upstream == base  # the base of RE stays with the base of NER


def test_upstream_changed_falls_back_to_the_base_where_ner_has_a_dash(tmp_path: Path) -> None:
    cells = expand(study(tmp_path, "gcn_heads = [2, 4]", ner_layers=0, upstream="changed"))
    upstream = cell(cells, "RE", "gcn_heads", "4").upstream
    assert upstream is not None
    assert upstream.graph.layers == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("demo-ner", "demo-nerr", "dataset 'd', ner: no preset 'demo-nerr'"),
        ("demo-ner", "demo-re", "dataset 'd', ner: preset demo-re is for RE"),
        ("graph.heads", "graph.head", "dataset 'd', ner: unknown setting 'graph.head'"),
    ],
)
def test_wrong_base_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text(HEAD.format(ner_layers=1).replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        expand(load_study(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
