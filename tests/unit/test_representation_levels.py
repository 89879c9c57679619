"""Representations as levels: what acts in a config, and the factor of a study."""

from pathlib import Path
from typing import Any

import pytest

from lai_net.active_settings import active_settings
from lai_net.config import PHASES, InputConfig, Phase, Representation
from lai_net.errors import InputError
from lai_net.settings import with_settings
from tests.unit.representing import FAMILIES, config_of
from tune.planning.plan import make_plan
from tune.spec.cells import Cell, expand
from tune.spec.identity import spec_id
from tune.spec.study import load_study

# --- identity --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_annotations_and_representation_say_the_same_thing_once(phase: Phase) -> None:
    base = config_of(phase, "annotate")
    bare = with_settings(base, {"input.annotations": False})
    enumerate_ = with_settings(base, {"input.representation": "enumerate"})
    assert spec_id(bare) == spec_id(enumerate_)
    assert spec_id(with_settings(bare, {"input.representation": "enumerate"})) == spec_id(bare)
    assert "representation" not in active_settings(base)["input"]
    assert len({spec_id(config_of(phase, family)) for family in FAMILIES}) == 4
    assert [config_of(phase, family).input.family for family in FAMILIES] == list(FAMILIES)
    assert bare.input.family == "enumerate"


@pytest.mark.parametrize("family", ["vanilla", "marker"])
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    ("setting", "value"),
    [("input.annotations", False), ("input.attention_mask", "full"), ("input.attention_mask", "vis"),
     ("input.max_candidates", 9), ("input.marker_marker", "all"), ("input.text_sees_markers", True),
     ("input.annotations_see_markers", True)],
)  # fmt: skip
def test_without_levitated_markers_no_mask_acts(
    phase: Phase, family: Representation, setting: str, value: object
) -> None:
    config = config_of(phase, family)
    assert spec_id(with_settings(config, {setting: value})) == spec_id(config)


def test_the_filters_stage_acts_where_there_are_markers() -> None:
    stages = {
        family: {spec_id(config_of("NER", family, filter__stage=stage)) for stage in ("marker", "text")}
        for family in ("vanilla", "enumerate")
    }
    assert {family: len(ids) for family, ids in stages.items()} == {"vanilla": 1, "enumerate": 2}


@pytest.mark.parametrize("settings", [{"filter__stage": "marker"}, {"filter__enabled": False}])
def test_marker_in_ner_needs_candidates_chosen_before(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r'filter\.stage = "text" with input\.representation = "marker"'):
        config_of("NER", "marker", **settings)
    config_of("RE", "marker", **settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_full_reads_the_text_once_unless_markers_are_levitated(family: Representation) -> None:
    full = InputConfig(representation=family, attention_mask="full")
    assert full.reads_context_once == (family in ("vanilla", "marker"))


# --- the factor ------------------------------------------------------------------------------------------

STUDY = """
name = "s"
seeds = 1
[[datasets]]
name = "d"
[datasets.ner]
preset = "demo-ner"
set = {ner}
[datasets.re]
preset = "demo-re"
[factors]
{factors}
"""
LEVELS = 'representation = ["vanilla", "marker", "enumerate", "annotate"]'


def cells_of(tmp_path: Path, ner: str = "{}", factors: str = LEVELS) -> list[Cell]:
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(ner=ner, factors=factors))
    return expand(load_study(path))


def test_levels_change_the_representation_alone(tmp_path: Path) -> None:
    cells = cells_of(tmp_path)
    assert [(cell.phase, cell.level, cell.is_base) for cell in cells] == [
        (phase, family, family == "annotate") for phase in PHASES for family in FAMILIES
    ]
    assert {cell.table for cell in cells} == {"representations"}
    base = cells[3].config
    for cell in cells[:4]:
        assert cell.config is not None
        assert cell.config.input.family == cell.level
        assert (cell.config.filter, cell.config.graph) == (base.filter, base.graph)
        assert cell.config.training == base.training


def test_a_base_without_annotations_gets_them_at_their_level(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, '{ "input.annotations" = false }')
    assert [cell.level for cell in cells if cell.is_base] == ["enumerate", "annotate"]
    assert [cell.config.input.family for cell in cells if cell.config is not None] == [*FAMILIES, *FAMILIES]


def test_marker_is_a_dash_where_all_spans_would_be_marked(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, '{ "filter.stage" = "marker" }')
    assert [(cell.phase, cell.level) for cell in cells if cell.config is None] == [("NER", "marker")]


def test_masks_are_dashes_without_levitated_markers(tmp_path: Path) -> None:
    cells = cells_of(tmp_path, '{ "input.representation" = "vanilla" }', 'mask = ["Inv.", "Full"]')
    assert [cell.phase for cell in cells if cell.config is None] == ["NER", "NER"]


@pytest.mark.parametrize("name", ["representations", "scierc-representations"])
def test_the_shipped_studies_train_every_level_in_both_phases(name: str) -> None:
    trials = make_plan(load_study(name)).trials
    assert len(trials) == 2 * 2 * 4
    assert {(trial.phase, trial.config.input.family) for trial in trials} == {
        (phase, family) for phase in PHASES for family in FAMILIES
    }
