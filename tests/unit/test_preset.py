"""Presets: what ships loads, says where it comes from, and matches the paper's Appendix B."""

import csv
import tomllib
from pathlib import Path

import pytest

import analysis.paper
from lai_net.active_settings import active_settings, idle_settings
from lai_net.config import TrialConfig
from lai_net.doubts import doubts, idle_doubts
from lai_net.errors import InputError
from lai_net.preset import FOLDER, load_preset, preset_names, read_preset
from lai_net.settings import config_from_dict, section_names, setting_names, with_settings
from tune.spec.baseline import as_pl_marker, model_of

PLAIN = {f"{kind}-{phase}" for kind in ("demo", "first", "six-layer") for phase in ("ner", "re")} | {
    "frozen-ner"
}
"""Presets all of whose values are ours."""


def test_expected_presets_ship() -> None:
    published = ("paper", "paper-literal", "plmarker")
    kinds = [f"{kind}-{name}" for kind in published for name in ("scierc", "ade", "ace05")]
    kinds += ["demo", "first", "first-plmarker", "recommended"]
    kinds += [f"recommended-{name}" for name in ("scierc", "ade", "ace05", "conll04")]
    assert {f"{kind}-{phase}" for kind in kinds for phase in ("ner", "re")} <= set(preset_names())


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


SETTINGS = Path(analysis.paper.__file__).parent / "settings.csv"
ENCODERS = {"scibert-scivocab-uncased": "allenai/scibert_scivocab_uncased"}
GPUS = 3
KEYS = {
    "encoder": "encoder.name",
    "gcn_layers": "graph.layers",
    "gcn_heads": "graph.heads",
    "max_sequence_length": "input.max_text_tokens",
    "max_span_words": "input.max_span_words",
    "max_candidates": "input.max_candidates",
    "batch_size_per_gpu": "training.batch_size",
    "epochs": "training.epochs",
    "learning_rate": "training.encoder_lr",
    "cold_start_epochs": "filter.cold_epochs",
    "averaging": "training.selection_averaging",
}
SECTION = "Table 2 cell"
"""Layers and heads are no values of Appendix B, but read off Table 2."""
NOT_IN_RE = {"max_span_words", "cold_start_epochs"}


def printed() -> list[dict[str, str]]:
    with SETTINGS.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", printed(), ids=lambda row: f"{row['dataset']} {row['phase']}")
@pytest.mark.parametrize("kind", ["paper", "paper-literal"])
def test_every_value_of_appendix_b_is_marked_and_none_is_called_reported_that_is_not(
    row: dict[str, str], kind: str
) -> None:
    preset = read_preset(f"{kind}-{row['dataset'].lower()}-{row['phase'].lower()}")
    for column, key in KEYS.items():
        if row["phase"] == "RE" and column in NOT_IN_RE:
            continue
        found = preset.values[key]
        if kind == "paper" and column == "learning_rate":
            assert (found.value, found.status) == (2e-5, "ours"), "the one value that the recommended one is"
            found = preset.values["training.head_lr"]
        if not row[column]:
            assert found.status == "inferred", f"{key} is not printed"
            continue
        text = ENCODERS.get(row[column], row[column])
        expected = type(found.value)(text) * (GPUS if column == "batch_size_per_gpu" else 1)
        assert found.value == expected, key
        is_inferred = SECTION in found.source or column == "batch_size_per_gpu"  # times the GPUs
        assert found.status == ("inferred" if is_inferred else "reported"), key


SAME_NUMBERS = {
    "encoder.num_layers", "training.micro_batch_tokens", "training.activation_checkpointing",
    "training.compile",
}  # fmt: skip
"""Settings of a part of an encoder, or of how the same thing is computed: no value of a paper."""


@pytest.mark.parametrize("dataset", ["scierc", "ade", "ace05"])
@pytest.mark.parametrize("phase", ["ner", "re"])
@pytest.mark.parametrize("kind", ["paper", "paper-literal"])
def test_every_value_of_the_papers_presets_that_acts_carries_a_mark(
    kind: str, dataset: str, phase: str
) -> None:
    preset = read_preset(f"{kind}-{dataset}-{phase}")
    with_layers = with_settings(preset.config, {"graph.layers": 1})  # as ADE's NER has at other levels
    acting = set(setting_names()) - SAME_NUMBERS - idle_settings(with_layers).keys()
    assert acting - preset.values.keys() == set()
    assert {key for key in preset.values if not preset.values[key].source} == set()


@pytest.mark.parametrize("name", sorted(set(preset_names()) - PLAIN))
def test_every_value_of_a_published_model_is_marked_with_its_source(name: str) -> None:
    content = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    sections = {key: section for key, section in content.items() if isinstance(section, dict)}
    unmarked = [
        f"{section}.{key}"
        for section, items in sections.items()
        for key, item in items.items()
        if type(item) is not dict or not item.get("source")
    ]
    assert unmarked == []


@pytest.mark.parametrize("dataset", ["scierc", "ade", "ace05"])
@pytest.mark.parametrize("phase", ["ner", "re"])
def test_the_literal_presets_differ_from_the_papers_in_what_we_know_better(dataset: str, phase: str) -> None:
    literal, ours = (load_preset(f"{kind}-{dataset}-{phase}") for kind in ("paper-literal", "paper"))
    assert (literal.training.encoder_lr, literal.training.head_lr, literal.training.selection) == (
        4e-4,
        4e-4,
        "test",
    )
    assert literal.graph.normalization == "symmetric"
    assert not literal.input.reads_context_once
    if phase == "ner":
        assert literal.filter.cold_negatives == 0
    else:
        assert (literal.head.symmetric_rule, literal.head.shortcut) == ("both", False)
    same = {"training.epochs", "training.batch_size", "graph.layers", "graph.heads", "input.max_candidates"}
    for key in same:
        section, name = key.split(".")
        assert getattr(getattr(literal, section), name) == getattr(getattr(ours, section), name)


@pytest.mark.parametrize(
    ("name", "encoder", "epochs", "text", "context", "typing"),
    [
        ("plmarker-scierc-ner", "allenai/scibert_scivocab_uncased", 50, 512, 510, "off"),
        ("plmarker-ace05-ner", "bert-base-uncased", 10, 512, 510, "off"),
        ("plmarker-ade-ner", "bert-base-uncased", 10, 512, 0, "off"),
        ("plmarker-scierc-re", "allenai/scibert_scivocab_uncased", 10, 254, 252, "loss"),
        ("plmarker-ace05-re", "bert-base-uncased", 10, 254, 252, "types"),
        ("plmarker-ade-re", "bert-base-uncased", 10, 254, 0, "loss"),
    ],
)
def test_pl_marker_presets_hold_its_scripts_settings(
    name: str, encoder: str, epochs: int, text: int, context: int, typing: str
) -> None:
    config = load_preset(name)
    assert model_of(config) == "PL-Marker"
    assert (config.encoder.name, config.training.epochs) == (encoder, epochs)
    assert (config.input.max_text_tokens, config.input.context_tokens) == (text, context)
    assert (config.training.encoder_lr, config.training.head_lr) == (2e-5, 2e-5)
    assert (config.training.batch_size, config.training.weight_decay) == (8, 0.0)
    assert config.head.object_typing == typing


@pytest.mark.parametrize("phase", ["ner", "re"])
def test_the_small_pl_marker_has_the_budget_of_the_small_lai_net(phase: str) -> None:
    ours, theirs = load_preset(f"first-{phase}"), load_preset(f"first-plmarker-{phase}")
    assert (model_of(ours), model_of(theirs)) == ("LAI-Net", "PL-Marker")
    assert (ours.encoder, ours.training) == (theirs.encoder, theirs.training)
    assert active_settings(as_pl_marker(ours)) == active_settings(theirs)


def test_a_preset_that_extends_others_states_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "paper-scierc-ner"\n[graph]\nlayers = 3')
    (tmp_path / "b.toml").write_text('phase = "NER"\n[graph]\nheads = 2\nlayers = 4')
    (tmp_path / "c.toml").write_text(
        'extends = ["a.toml", "b.toml"]\n[training]\nepochs = 2\n[filter]\ncold_epochs = 0'
    )
    base, config = load_preset("paper-scierc-ner"), load_preset(str(tmp_path / "c.toml"))
    assert (config.graph.layers, config.graph.heads, config.training.epochs) == (4, 2, 2)
    assert config.encoder == base.encoder
    values = read_preset(str(tmp_path / "c.toml")).values
    assert values["graph.layers"].status == "ours"
    assert values["training.head_lr"].status == "reported"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "nope"', "no preset 'nope'; those that ship lie in lai_net/presets"),
        ('extends = "mine.toml"', "mine.toml: extends itself by way of mine.toml"),
        ('extends = "other.toml"', "mine.toml: extends itself by way of other.toml"),
        ('extends = "./mine.toml"', "mine.toml: extends itself by way of mine.toml"),
        ("extends = 3", "mine.toml: extends must name presets, but got 3"),
        ('phase = "RE"\nextends = "demo-ner"', "mine.toml: phase is RE, but it extends a preset for NER"),
        ('extends = "wrong.toml"', "wrong.toml: unknown setting 'graph.layerz'"),
    ],
)
def test_what_cannot_be_extended_is_one_line_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    (tmp_path / "other.toml").write_text('extends = "mine.toml"')
    (tmp_path / "wrong.toml").write_text('phase = "NER"\n[graph]\nlayerz = 1')
    with pytest.raises(InputError) as caught:
        load_preset(str(tmp_path / "mine.toml"))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[graph]\nlayers = 1", "mine.toml: phase must be one of NER, RE, but got None"),
        ('phase = "NER"\n[graph]\nlayerz = 1', "mine.toml: unknown setting 'graph.layerz'"),
        (
            'phase = "NER"\n[model]\nlayers = 1',
            "mine.toml: unknown section 'model'; known are encoder, input,",
        ),
        ('phase = "NER"\n[filtr]', "mine.toml: unknown section 'filtr'; known are encoder, input, filter,"),
        ('phase = "NER"\n[graph]\nlayers = "1"', "mine.toml: graph.layers must be of type int"),
        ('phase = "NER"\n[graph]\nheads = 0', "mine.toml: graph.heads >= 1 must hold, but got 0"),
        ('phase = "NER"\nlayers = 1', "mine.toml: 'layers' must be a section"),
        (
            'phase = "NER"\n[graph]\nlayers = {value = 1}',
            "mine.toml: graph.layers takes value, status and source",
        ),
        ('phase = "NER"\n[graph]\nlayers = {value = 1, status = "guess"}', "status must be one of reported"),
        ('phase = "NER"\n[graph]\nlayers = {value = 1, status = "reported"}', "needs its source"),
        (
            f'phase = "NER"\n[training]\nhead_lr = 1{"0" * 400}',
            "mine.toml: training.head_lr must have at most 64 bits, but got 1000",
        ),
        ("phase = ", "cannot be read as TOML"),
        ("a = " + "[" * 5000 + "]" * 5000, "cannot be read as TOML"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_setting(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_preset(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nope",
            r"no preset 'nope'; those that ship lie in lai_net/presets \(demo-ner to six-layer-re\), or",
        ),
        ("first_ner", r"no preset 'first_ner'; those that ship .*first-ner.*, or give a \.toml file"),
        ("/nope.toml", r"/nope\.toml: no such file; give a preset's \.toml file, or the name"),
    ],
)
def test_an_unknown_preset_is_one_short_line(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_preset(name)
    assert len(str(caught.value)) < 200


def test_a_preset_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('phase = "NER"\n', "utf-8-sig")
    assert load_preset(str(path)) == TrialConfig(phase="NER")


def test_an_unknown_setting_names_those_of_its_section() -> None:
    with pytest.raises(
        InputError, match=r"unknown setting 'graph\.layerz'; known in graph: layers, heads, "
    ) as one:
        with_settings(TrialConfig(phase="NER"), {"graph.layerz": 1})
    with pytest.raises(
        InputError, match=r"unknown setting 'depth'; known are section\.name of encoder, "
    ) as two:
        with_settings(TrialConfig(phase="NER"), {"depth": 1})
    assert max(len(str(error.value)) for error in (one, two)) < 150


def test_a_setting_without_its_section_is_told_with_it() -> None:
    with pytest.raises(InputError, match=r"^unknown setting 'epochs'; write training\.epochs$"):
        with_settings(TrialConfig(phase="NER"), {"epochs": 5})


FOR_LEVELS = {"input.max_candidates", "graph.heads"}
"""What the paper's presets state though it has an effect at some levels of its tables alone."""
OVER_A_BASE = {"input.annotations"}
"""What PL-Marker's presets state for a study that sets their representation to the paper's."""


@pytest.mark.parametrize("name", preset_names())
def test_a_shipped_preset_states_nothing_that_does_nothing(name: str) -> None:
    content = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    own = {f"{section}.{key}" for section in section_names() for key in content.get(section, {})}
    acts_elsewhere = {"paper": FOR_LEVELS, "plmarker": OVER_A_BASE}
    stated = own - acts_elsewhere.get(name.partition("-")[0], set())
    assert idle_doubts([load_preset(name)], stated, on_cuda=True) == []


def test_a_threshold_in_the_early_filter_is_doubtful_and_in_the_papers_is_not() -> None:
    (doubt,) = doubts(with_settings(load_preset("paper-scierc-ner"), {"filter.stage": "text"}))
    assert "filter.threshold 0.1" in doubt
    assert [name for name in preset_names() if doubts(load_preset(name))] == []


def test_section_that_is_no_table_is_refused() -> None:
    with pytest.raises(InputError, match="unknown setting 'graph'; known in graph: layers, heads"):
        config_from_dict({"phase": "NER", "graph": 2})
