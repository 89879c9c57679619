"""Everything that one training of LAI-Net can be told, as frozen dataclasses.

A field that is added later carries `metadata={"neutral": value}`: the value at which it computes what
was computed before it existed. Identity leaves a neutral field out, so old trial ids stay (see
`tune.identity`). Settings that do not act in a config are left out by `active_settings`.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lai_net.errors import InputError

Phase = Literal["NER", "RE"]
AttentionMask = Literal["inv", "vis", "full"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderConfig:
    """The pretrained encoder.

    Attributes:
        name: `minilm` (the offline default), a hub name, or a local folder.
        num_layers: keep the first k layers; None keeps all.
        freeze: `none`, `embeddings` (word embeddings) or `all`.
    """

    name: str = "minilm"
    num_layers: int | None = None
    freeze: Literal["none", "embeddings", "all"] = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class InputConfig:
    """The input sequence of Eq. 5 and who may attend to whom in it.

    Attributes:
        annotations: whether label annotations are part of the input ("w/o 1st" has none).
        attention_mask: `inv`, `vis` or `full` (Table 5, Figure A2).
        max_text_tokens: bound of [CLS] text [SEP] in word pieces (the paper's C); longer text is cut at a
            word, and what is lost is counted. In RE the two solid subject markers come on top of it.
        max_span_words: longest candidate in words (NER only).
        max_candidates: marker pairs a pack holds; more candidates take more packs.
    """

    annotations: bool = True
    attention_mask: AttentionMask = "inv"
    max_text_tokens: int = 150
    max_span_words: int = 8
    max_candidates: int = 220


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterConfig:
    """The entity candidate filter of NER (Section 3.4, Eq. 11) and its cold start (Appendix B.8).

    Attributes:
        enabled: False is the paper's "without".
        stage: `marker` screens on span representations (the paper); `text` screens on the encoder's text
            states, and only survivors get markers.
        ratio: at most ratio x words candidates are kept in a sentence.
        min_kept: bounds from below how many candidates are kept.
        max_kept: bounds from above how many candidates are kept.
        threshold: candidates beyond `min_kept` need at least this probability.
        cold_epochs: epochs that train the classifier on gold spans, not on the filter's choice; None = half.
        cold_negatives: hardest non-gold spans per gold span that join in the cold phase (0 in the paper).
    """

    enabled: bool = True
    stage: Literal["marker", "text"] = "marker"
    ratio: float = 0.5
    min_kept: int = 3
    max_kept: int = 32
    threshold: float = 0.1
    cold_epochs: int | None = None
    cold_negatives: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphConfig:
    """G4CN, the second round of interaction (Eq. 6-8, 13).

    Attributes:
        layers: GCN layers L; 0 is "w/o 2nd".
        heads: latent views N; the hidden size must be divisible by it.
        dropout: after each layer.
        sigma_min: floor of the Gaussians' standard deviation.
    """

    layers: int = 2
    heads: int = 4
    dropout: float = 0.1
    sigma_min: float = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """What stands on top of the encoder.

    Attributes:
        dropout: of every fully connected layer.
        shortcut: RE: add PL-Marker's additive subject and object logits to the pair's.
    """

    dropout: float = 0.1
    shortcut: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """Optimisation.

    Attributes:
        epochs: full passes over the training split.
        batch_size: effective batch: sentences (NER) or subject instances (RE) a step.
        encoder_lr: AdamW learning rate of the encoder.
        head_lr: AdamW learning rate of everything else.
        warmup: share of the steps with a linear warm-up; the rate then falls linearly to 0.
        weight_decay: of AdamW.
        clip: bound of the gradient's norm.
        negatives: NER: non-gold spans sampled a sentence in training; 0 takes all (the paper).
        precision: `fp32`, or `bf16` autocast with KL, softmax and losses in float32.
        selection: split on which the best epoch is chosen (the paper: test).
        selection_averaging: `micro` or `macro` F1 for that choice.
    """

    epochs: int = 10
    batch_size: int = 16
    encoder_lr: float = 2e-5
    head_lr: float = 4e-4
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    negatives: int = 0
    precision: Precision = "fp32"
    selection: Literal["dev", "test"] = "dev"
    selection_averaging: Literal["micro", "macro"] = "micro"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """One resolved config of one phase. `filter` acts in NER only, `head.shortcut` in RE only."""

    phase: Phase
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    input: InputConfig = field(default_factory=InputConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)
    graph: GraphConfig = field(default_factory=GraphConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        for rule, got in _broken_rules(self):
            raise InputError(f"{rule} must hold, but got {got}; change that setting")

    @property
    def cold_epochs(self) -> int:
        """Epochs of the cold start; 0 without a filter."""
        if self.phase == "RE" or not self.filter.enabled:
            return 0
        if self.filter.cold_epochs is None:
            return round(self.training.epochs / 2)
        return self.filter.cold_epochs


def _broken_rules(config: TrialConfig) -> list[tuple[str, str]]:
    enc, inp, flt, graph, train = (
        config.encoder, config.input, config.filter, config.graph, config.training,
    )  # fmt: skip
    rules = [
        (enc.num_layers is None or enc.num_layers >= 1, "encoder.num_layers >= 1", enc.num_layers),
        (inp.max_text_tokens >= 8, "input.max_text_tokens >= 8", inp.max_text_tokens),
        (inp.max_span_words >= 1, "input.max_span_words >= 1", inp.max_span_words),
        (inp.max_candidates >= 1, "input.max_candidates >= 1", inp.max_candidates),
        (flt.ratio > 0, "filter.ratio > 0", flt.ratio),
        (0 <= flt.min_kept <= flt.max_kept, "0 <= filter.min_kept <= filter.max_kept",
         f"{flt.min_kept} and {flt.max_kept}"),
        (0 <= flt.threshold <= 1, "0 <= filter.threshold <= 1", flt.threshold),
        (flt.cold_negatives >= 0, "filter.cold_negatives >= 0", flt.cold_negatives),
        (0 <= config.cold_epochs < train.epochs, "0 <= filter.cold_epochs < training.epochs",
         f"{config.cold_epochs} and {train.epochs}"),
        (graph.layers >= 0, "graph.layers >= 0", graph.layers),
        (graph.heads >= 1, "graph.heads >= 1", graph.heads),
        (0 < graph.sigma_min < 1, "0 < graph.sigma_min < 1", graph.sigma_min),
        (all(0 <= rate < 1 for rate in (graph.dropout, config.head.dropout)),
         "0 <= dropout < 1", f"{graph.dropout} (graph) and {config.head.dropout} (head)"),
        (train.epochs >= 1, "training.epochs >= 1", train.epochs),
        (train.batch_size >= 1, "training.batch_size >= 1", train.batch_size),
        (train.encoder_lr >= 0 and train.head_lr > 0, "training.encoder_lr >= 0 and head_lr > 0",
         f"{train.encoder_lr} and {train.head_lr}"),
        (0 <= train.warmup < 1, "0 <= training.warmup < 1", train.warmup),
        (train.weight_decay >= 0, "training.weight_decay >= 0", train.weight_decay),
        (train.clip > 0, "training.clip > 0", train.clip),
        (train.negatives >= 0, "training.negatives >= 0", train.negatives),
    ]  # fmt: skip
    return [(rule, str(got)) for holds, rule, got in rules if not holds]


def active_settings(config: TrialConfig) -> dict[str, Any]:
    """The settings that act, as nested plain values; equal computations give equal settings.

    Left out: heads and graph dropout without GCN layers, the filter in RE or when it is off, its cold start
    when there is none, the mask's
    difference between Inv. and Vis. without annotations, candidates' length in RE, the shortcut in NER.
    Later fields at their neutral value are left out too.
    """
    settings = _without_neutral(config)
    if config.graph.layers == 0:
        settings["graph"] = {"layers": 0}
    if not config.input.annotations and config.input.attention_mask == "vis":
        settings["input"]["attention_mask"] = "inv"
    if config.phase == "RE":
        del settings["filter"], settings["input"]["max_span_words"]
        del settings["training"]["negatives"]
    else:
        del settings["head"]["shortcut"]
        if not config.filter.enabled:
            settings["filter"] = {"enabled": False}
        elif config.cold_epochs:
            settings["filter"]["cold_epochs"] = config.cold_epochs
        else:
            del settings["filter"]["cold_epochs"], settings["filter"]["cold_negatives"]
    if settings["input"]["attention_mask"] != "full":
        del settings["input"]["max_candidates"]  # packs change no logit under Inv. and Vis.
    return settings


def _without_neutral(section: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        if dataclasses.is_dataclass(value):
            values[item.name] = _without_neutral(value)
        elif "neutral" not in item.metadata or value != item.metadata["neutral"]:
            values[item.name] = value
    return values


def with_settings(config: TrialConfig, settings: Mapping[str, Any]) -> TrialConfig:
    """A copy with dotted keys replaced, e.g. `{"graph.layers": 1}`.

    Raises:
        InputError: an unknown key or a value of the wrong type, by name.
    """
    changes: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        section, _, name = key.partition(".")
        owner = getattr(config, section, None) if section != "phase" else None
        if not dataclasses.is_dataclass(owner) or name not in _field_types(type(owner)):
            raise InputError(f"unknown setting {key!r}; known: {', '.join(setting_names())}")
        changes.setdefault(section, {})[name] = _checked(key, value, _field_types(type(owner))[name])
    sections = {
        section: dataclasses.replace(getattr(config, section), **values)
        for section, values in changes.items()
    }
    return dataclasses.replace(config, **sections)


def config_from_dict(values: Mapping[str, Any]) -> TrialConfig:
    """The inverse of `dataclasses.asdict`.

    Raises:
        InputError: an unknown key or a value of the wrong type, by name.
    """
    settings = {
        f"{section}.{name}": value
        for section, content in values.items()
        if section != "phase"
        for name, value in content.items()
    }
    return with_settings(TrialConfig(phase=values["phase"]), settings)


def setting_names() -> list[str]:
    """Every dotted setting that `with_settings` takes."""
    return [
        f"{section.name}.{name}"
        for section in dataclasses.fields(TrialConfig)
        if section.name != "phase"
        for name in _field_types(section.default_factory)
    ]


def _field_types(owner: Any) -> dict[str, Any]:
    return get_type_hints(owner)


def _checked(key: str, value: Any, expected: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{key} must be finite, but got {value}")
    options = get_args(expected) if get_origin(expected) is not None else (expected,)
    if get_origin(expected) is Literal:
        if value not in options:
            raise InputError(f"{key} must be one of {', '.join(map(str, options))}, but got {value!r}")
        return value
    if float in options and type(value) is int:
        return float(value)
    if not any(type(value) is option for option in options):
        names = " or ".join(getattr(option, "__name__", str(option)) for option in options)
        raise InputError(f"{key} must be of type {names}, but got {value!r}")
    return value
