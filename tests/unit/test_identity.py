"""Identity: pinned ids, and what does and does not change them."""

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lai_net.active_settings import active_settings
from lai_net.config import (
    EncoderConfig,
    FilterConfig,
    GraphConfig,
    HeadConfig,
    InputConfig,
    TrainingConfig,
    TrialConfig,
)
from lai_net.schema import Labels
from lai_net.settings import with_settings
from tune.spec import identity
from tune.spec.identity import config_id, evaluation_id, settings_id, spec_id, trial_id

GOLDEN = Path(__file__).parent.parent / "golden" / "identity.json"
NER = TrialConfig(
    phase="NER",
    encoder=EncoderConfig(name="some/encoder", num_layers=2, freeze="embeddings"),
    input=InputConfig(
        annotations=True, attention_mask="full", max_text_tokens=150, max_span_words=8, max_candidates=220
    ),
    filter=FilterConfig(
        enabled=True, stage="marker", ratio=0.5, min_kept=3, max_kept=32, threshold=0.1, cold_epochs=5,
        cold_negatives=1,
    ),
    graph=GraphConfig(layers=2, heads=4, dropout=0.1, sigma_min=0.1),
    head=HeadConfig(dropout=0.1, shortcut=True),
    training=TrainingConfig(
        epochs=10, batch_size=16, encoder_lr=2e-5, head_lr=4e-4, warmup=0.1, weight_decay=0.01, clip=1.0,
        negatives=0, precision="fp32", selection="dev", selection_averaging="micro",
    ),
)  # fmt: skip
RE = dataclasses.replace(NER, phase="RE")
LABELS = Labels(
    entities={"Task": "task", "Method": "method"},
    relations={"USED-FOR": "used for", "COMPARE": "compare"},
    symmetric=frozenset({"COMPARE"}),
)


def ids() -> dict[str, str]:
    """Ids of fixed inputs: those that the golden file pins."""
    out = {}
    for config in (NER, RE):
        name = config_id(config, "corpus", "encoder", LABELS)
        out[f"{config.phase} spec"] = spec_id(config)
        out[f"{config.phase} config"] = name
        out[f"{config.phase} trial"] = trial_id(name, 7)
    out["evaluation"] = evaluation_id(out["RE trial"], out["NER trial"], "test", "predicted")
    out["evaluation gold"] = evaluation_id(out["RE trial"], None, "test", "gold")
    return out


def test_ids_are_those_of_every_earlier_version() -> None:
    """If this fails, stored trials train again: raise SEMANTICS, or give a new field a neutral value."""
    assert ids() == json.loads(GOLDEN.read_text())


def test_ids_are_twenty_hex_digits_and_distinct() -> None:
    values = list(ids().values())
    assert len(set(values)) == len(values)
    assert all(len(value) == 20 and int(value, 16) >= 0 for value in values)


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_ids_do_not_depend_on_process_or_hash_seed(hash_seed: str) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import json, test_identity; print(json.dumps(test_identity.ids()))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(out.stdout) == ids()


def test_key_order_does_not_matter() -> None:
    settings = active_settings(NER)
    turned = {
        name: dict(reversed(value.items())) if isinstance(value, dict) else value
        for name, value in reversed(settings.items())
    }
    assert list(turned) != list(settings)
    assert settings_id(turned) == spec_id(NER)


def test_spelling_of_a_number_does_not_matter_but_its_kind_does() -> None:
    assert spec_id(with_settings(NER, {"training.encoder_lr": 0.00002})) == spec_id(NER)
    assert spec_id(dataclasses.replace(NER, training=dataclasses.replace(NER.training, clip=1))) == spec_id(
        NER
    )
    base = {"phase": "NER", "x": 1}
    assert settings_id({**base, "x": 1.0}) == settings_id(base)
    assert len({settings_id({**base, "x": value}) for value in (1, True, "1", None, 1.5)}) == 5


def test_a_number_that_is_not_finite_has_no_id() -> None:
    with pytest.raises(ValueError, match="JSON"):
        settings_id({"phase": "NER", "x": float("nan")})


@pytest.mark.parametrize(
    ("config", "setting", "value"),
    [
        (RE, "filter.ratio", 0.9),
        (RE, "input.max_span_words", 3),
        (RE, "training.negatives", 5),
        (NER, "head.shortcut", False),
        (with_settings(NER, {"graph.layers": 0}), "graph.heads", 2),
        (with_settings(NER, {"filter.enabled": False}), "filter.threshold", 0.3),
        (with_settings(NER, {"input.attention_mask": "inv"}), "input.max_candidates", 100),
        (with_settings(NER, {"input.annotations": False, "input.attention_mask": "inv"}),
         "input.attention_mask", "vis"),
        (NER, "filter.cold_epochs", 5),
        (with_settings(NER, {"filter.cold_epochs": 5}), "filter.cold_epochs", 5),
        (NER, "input.text_sees_markers", True),
        (NER, "input.marker_marker", "all"),
        (NER, "input.annotations_see_markers", True),
        (with_settings(NER, {"input.attention_mask": "inv", "input.annotations": False}),
         "input.annotations_see_markers", True),
        (with_settings(NER, {"graph.layers": 0}), "graph.direction", "gdpnet"),
        (with_settings(NER, {"graph.layers": 0}), "graph.normalization", "symmetric"),
        (NER, "head.symmetric_rule", "both"),
        (NER, "head.object_typing", "types"),
        (RE, "head.relation_threshold", 0.3),
        (with_settings(RE, {"graph.layers": 0, "head.kind": "linear"}), "head.shortcut", False),
        (with_settings(RE, {"encoder.freeze": "features"}), "training.encoder_lr", 1e-3),
    ],
)  # fmt: skip
def test_settings_that_do_not_act_fold(config: TrialConfig, setting: str, value: object) -> None:
    other = with_settings(config, {setting: value})
    assert spec_id(other) == spec_id(config)
    assert config_id(other, "c", "e", LABELS) == config_id(config, "c", "e", LABELS)


def test_default_cold_start_is_the_same_as_its_value_spelled_out() -> None:
    default = dataclasses.replace(NER, filter=dataclasses.replace(NER.filter, cold_epochs=None))
    assert spec_id(default) == spec_id(NER)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("encoder.num_layers", 3), ("input.annotations", False), ("input.attention_mask", "inv"),
        ("graph.layers", 3), ("graph.heads", 2), ("filter.enabled", False), ("training.epochs", 11),
        ("training.precision", "bf16"), ("training.batch_size", 32), ("training.selection", "test"),
    ],
)  # fmt: skip
def test_settings_that_act_separate(setting: str, value: object) -> None:
    other = with_settings(NER, {setting: value})
    assert spec_id(other) != spec_id(NER)
    assert config_id(other, "c", "e", LABELS) != config_id(NER, "c", "e", LABELS)


@pytest.mark.parametrize(
    ("settings", "setting", "value"),
    [
        ({"input.attention_mask": "inv"}, "input.text_sees_markers", True),
        ({"input.attention_mask": "inv"}, "input.annotations_see_markers", True),
        ({"input.attention_mask": "vis"}, "input.marker_marker", "type"),
        ({"input.attention_mask": "inv", "input.marker_marker": "all"}, "input.max_candidates", 100),
        ({"input.attention_mask": "inv", "input.text_sees_markers": True}, "input.max_candidates", 100),
        ({}, "graph.direction", "gdpnet"),
        ({}, "graph.normalization", "symmetric"),
        ({"graph.layers": 0}, "head.kind", "linear"),
        ({}, "head.symmetric_rule", "both"),
        ({"head.symmetric_rule": "both"}, "head.relation_threshold", 0.3),
        ({}, "head.object_typing", "loss"),
        ({"head.object_typing": "loss"}, "head.object_typing", "types"),
    ],
)
def test_a_reading_of_the_paper_separates_where_it_acts(
    settings: dict[str, object], setting: str, value: object
) -> None:
    base = with_settings(RE, settings)
    assert spec_id(with_settings(base, {setting: value})) != spec_id(base)


def test_entity_labels_count_in_re_where_objects_are_typed() -> None:
    other = dataclasses.replace(LABELS, entities={"Task": "task", "Metric": "metric"})
    typed = with_settings(RE, {"head.object_typing": "loss"})
    assert config_id(RE, "c", "e", other) == config_id(RE, "c", "e", LABELS)
    assert config_id(typed, "c", "e", other) != config_id(typed, "c", "e", LABELS)


def test_encoder_counts_by_name_in_spec_and_by_content_in_config() -> None:
    renamed = with_settings(NER, {"encoder.name": "a/local/folder"})
    assert spec_id(renamed) != spec_id(NER)
    assert config_id(renamed, "c", "e", LABELS) == config_id(NER, "c", "e", LABELS)
    assert config_id(NER, "c", "e2", LABELS) != config_id(NER, "c", "e", LABELS)
    assert config_id(NER, "c2", "e", LABELS) != config_id(NER, "c", "e", LABELS)


@pytest.mark.parametrize(
    ("change", "changes_ner", "changes_re"),
    [
        ({"entities": {"Task": "a task", "Method": "method"}}, True, False),
        ({"entities": {"Method": "method", "Task": "task"}}, True, False),
        ({"relations": {"USED-FOR": "used", "COMPARE": "compare"}}, False, True),
        ({"symmetric": frozenset()}, False, True),
    ],
    ids=["entity phrase", "entity order", "relation phrase", "symmetric"],
)
def test_labels_count_where_they_act(change: dict, changes_ner: bool, changes_re: bool) -> None:
    other = dataclasses.replace(LABELS, **change)
    for config, changes in ((NER, changes_ner), (RE, changes_re)):
        same = config_id(config, "c", "e", other) == config_id(config, "c", "e", LABELS)
        assert same is not changes


def test_phrases_do_not_count_without_annotations() -> None:
    bare = with_settings(NER, {"input.annotations": False})
    other = dataclasses.replace(LABELS, entities={"Task": "x", "Method": "y"})
    assert config_id(bare, "c", "e", other) == config_id(bare, "c", "e", LABELS)
    fewer = dataclasses.replace(LABELS, entities={"Task": "x"})
    assert config_id(bare, "c", "e", fewer) != config_id(bare, "c", "e", LABELS)


def test_later_field_at_its_neutral_value_changes_no_id() -> None:
    @dataclass(frozen=True, kw_only=True)
    class LaterGraph(GraphConfig):
        residual: float = field(default=0.0, metadata={"neutral": 0.0})

    def with_residual(value: float) -> TrialConfig:
        old = {item.name: getattr(NER.graph, item.name) for item in dataclasses.fields(GraphConfig)}
        return dataclasses.replace(NER, graph=LaterGraph(**old, residual=value))

    assert spec_id(with_residual(0.0)) == spec_id(NER)
    assert spec_id(with_residual(0.5)) != spec_id(NER)


@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_raised_semantics_change_the_ids_of_that_phase_alone(
    phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ids()
    monkeypatch.setitem(identity.SEMANTICS, phase, 99)
    changed = {name.split()[0] for name, value in ids().items() if value != before[name]}
    assert changed - {"evaluation"} == {phase}


def test_evaluations_differ_by_each_part() -> None:
    parts = [("t", None, "dev", "gold"), ("t", "u", "dev", "gold"), ("t", "v", "dev", "gold"),
             ("s", None, "dev", "gold"), ("t", None, "test", "gold"),
             ("t", None, "dev", "predicted")]  # fmt: skip
    assert len({evaluation_id(*part) for part in parts}) == len(parts)
