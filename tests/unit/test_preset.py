"""Presets: what ships loads, says where it comes from, and matches the paper's Appendix B."""

import tomllib
from pathlib import Path

import pytest

from lai_net.errors import InputError
from lai_net.preset import FOLDER, load_preset, preset_names


def test_expected_presets_ship() -> None:
    papers = {f"paper-{c}-{p}" for c in ("scierc", "ade", "ace05") for p in ("ner", "re")}
    assert papers | {"demo-ner", "demo-re", "first-ner", "first-re"} <= set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_shipped_preset_loads_in_the_phase_of_its_name(name: str) -> None:
    assert load_preset(name).phase.lower() == name.rsplit("-", 1)[1]


@pytest.mark.parametrize(
    ("name", "encoder", "layers", "heads", "batch", "epochs", "cold", "averaging"),
    [
        ("paper-scierc-ner", "allenai/scibert_scivocab_uncased", 1, 4, 48, 80, 40, "micro"),
        ("paper-scierc-re", "allenai/scibert_scivocab_uncased", 2, 4, 120, 60, 0, "micro"),
        ("paper-ace05-ner", "bert-base-uncased", 2, 4, 60, 80, 15, "micro"),
        ("paper-ace05-re", "bert-base-uncased", 2, 2, 150, 60, 0, "micro"),
        ("paper-ade-ner", "bert-base-uncased", 0, 3, 48, 80, 40, "macro"),
        ("paper-ade-re", "bert-base-uncased", 1, 3, 120, 60, 0, "macro"),
    ],
)
def test_paper_presets_hold_the_papers_settings(
    name: str, encoder: str, layers: int, heads: int, batch: int, epochs: int, cold: int, averaging: str
) -> None:
    config = load_preset(name)
    assert (config.encoder.name, config.graph.layers, config.graph.heads) == (encoder, layers, heads)
    assert (config.training.batch_size, config.training.epochs, config.cold_epochs) == (batch, epochs, cold)
    assert config.training.selection_averaging == averaging
    assert (config.input.max_text_tokens, config.input.max_span_words, config.input.max_candidates) == (
        150,
        8,
        220,
    )
    assert (config.training.encoder_lr, config.training.head_lr, config.training.negatives) == (2e-5, 4e-4, 0)


@pytest.mark.parametrize("name", [name for name in preset_names() if name.startswith("paper-")])
def test_what_is_not_ours_names_its_source(name: str) -> None:
    content = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    marked = [
        value for section in content.values() if isinstance(section, dict) for value in section.values()
    ]
    assert all(value["source"] for value in marked if isinstance(value, dict) and value["status"] != "ours")
    assert sum(isinstance(value, dict) for value in marked) >= 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[graph]\nlayers = 1", "mine.toml: phase must be one of NER, RE, but got None"),
        ('phase = "NER"\n[graph]\nlayerz = 1', "mine.toml: unknown setting 'graph.layerz'"),
        ('phase = "NER"\n[model]\nlayers = 1', "mine.toml: unknown setting 'model.layers'"),
        ('phase = "NER"\n[graph]\nlayers = "1"', "mine.toml: graph.layers must be of type int"),
        ('phase = "NER"\n[graph]\nheads = 0', "mine.toml: graph.heads >= 1 must hold, but got 0"),
        ('phase = "NER"\nlayers = 1', "mine.toml: 'layers' must be a section"),
        (
            'phase = "NER"\n[graph]\nlayers = {value = 1}',
            "mine.toml: graph.layers takes value, status and source",
        ),
        ('phase = "NER"\n[graph]\nlayers = {value = 1, status = "guess"}', "status must be one of reported"),
        ('phase = "NER"\n[graph]\nlayers = {value = 1, status = "reported"}', "needs its source"),
        ("phase = ", "cannot be read as TOML"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_setting(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_preset(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nope", "nope.toml"])
def test_unknown_preset_names_those_that_ship(name: str) -> None:
    with pytest.raises(InputError, match=f"no preset '{name}'; known: .*paper-ade-ner"):
        load_preset(name)
