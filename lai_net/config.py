"""Everything that one training of LAI-Net can be told, as frozen dataclasses.

A field that is added later carries `metadata={"neutral": value}`: the value at which it computes what
was computed before it existed. Identity leaves a neutral field out, so old trial ids stay (see
`tune.spec.identity`). Settings that do not act in a config are left out by `active_settings`.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

from lai_net.errors import InputError
from lai_net.metrics.scoring import Averaging

Phase = Literal["NER", "RE"]
PHASES: tuple[Phase, ...] = get_args(Phase)
SEED_END = 2**32
"""Seeds of trials are below it."""
AttentionMask = Literal["inv", "vis", "full"]
Precision = Literal["fp32", "bf16"]
Representation = Literal["vanilla", "marker", "enumerate", "annotate"]
EncoderPasses = Literal["two-pass", "dense"]
EntitySource = Literal["predicted", "gold", "gold_typed_by_model"]
"""Whose entities an evaluation takes: an NER model's, gold ones, or gold spans with types of the RE model
or, where it types nothing, of an NER model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderConfig:
    """The pretrained encoder.

    Attributes:
        name: `minilm` (the offline default), a hub name, or a local folder.
        num_layers: keep the first k layers; None keeps all.
        freeze: `none`, `embeddings` (word embeddings) or `all`, under which the embeddings of markers still
            train and dropout still acts; under `features` neither does, so that the states of a corpus are
            constants that are computed once for many trials.
    """

    name: str = "minilm"
    num_layers: int | None = None
    freeze: Literal["none", "embeddings", "all", "features"] = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class InputConfig:
    """The input sequence of Eq. 5 and who may attend to whom in it.

    Attributes:
        representation: how a candidate is represented (Figure 1). `vanilla`: by its first and last text state
            (Eq. 1). `marker`: by solid markers in a copy of the text, which in NER a candidate and in RE a
            pair reads (Eq. 2). `enumerate`: by levitated markers and its text states (Eq. 3), in RE with
            solid markers around the subject. `annotate`: so, and the markers see label annotations (Eq. 4).
        annotations: whether label annotations are part of the input ("w/o 1st" has none). Acts in `annotate`
            alone, which without them is `enumerate`.
        attention_mask: `inv`, `vis` or `full` (Table 5, Figure A2).
        max_text_tokens: bound of [CLS] text [SEP] in word pieces (the paper's C); longer text is cut at a
            word, and what is lost is counted. Solid markers come on top of it.
        context_tokens: word pieces of the window of its document, centred on it, in which a sentence is
            read, its own included (PL-Marker: 510 in NER, 252 in RE); 0 reads it alone.
        max_span_words: longest candidate in words (NER only).
        max_candidates: marker pairs a pack holds; more candidates take more packs.
        text_sees_markers: text tokens attend to the pack's markers, too (a reading of Appendix B.11).
        annotations_see_markers: annotation tokens likewise.
        marker_marker: which markers a marker sees: those of its `own` pair (PL-Marker); also all of its
            `type`, start or end (a reading of Section 4.3.3); or `all` of its pack.
            Under `full` everything sees everything whatever these three say.
    """

    representation: Representation = field(default="annotate", metadata={"neutral": "annotate"})
    annotations: bool = True
    attention_mask: AttentionMask = "inv"
    max_text_tokens: int = 150
    max_span_words: int = 8
    max_candidates: int = 220
    context_tokens: int = field(default=0, metadata={"neutral": 0})
    text_sees_markers: bool = field(default=False, metadata={"neutral": False})
    annotations_see_markers: bool = field(default=False, metadata={"neutral": False})
    marker_marker: Literal["own", "type", "all"] = field(default="own", metadata={"neutral": "own"})

    @property
    def family(self) -> Representation:
        """The representation that acts: what annotates without annotations enumerates."""
        if self.representation == "annotate" and not self.annotations:
            return "enumerate"
        return self.representation

    @property
    def is_annotated(self) -> bool:
        """Whether label annotations are read."""
        return self.family == "annotate"

    @property
    def is_levitated(self) -> bool:
        """Whether candidates have markers beside the text, to which the mask applies."""
        return self.family in ("enumerate", "annotate")

    @property
    def reads_context_once(self) -> bool:
        """Whether nothing sees a levitated marker but its pair.

        Then text and annotations are read once, the pairs in a second pass, and packs change no logit;
        else every pack of candidates takes one dense pass.
        """
        annotations_see = self.is_annotated and self.annotations_see_markers
        sees_others = self.text_sees_markers or annotations_see or self.marker_marker != "own"
        return not self.is_levitated or (self.attention_mask != "full" and not sees_others)

    @property
    def encoder_passes(self) -> EncoderPasses:
        """Markers take a second pass over what was read once; or each text, copy or pack takes one pass."""
        return "two-pass" if self.is_levitated and self.reads_context_once else "dense"


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterConfig:
    """The entity candidate filter of NER (Section 3.4, Eq. 11) and its cold start (Appendix B.8).

    Attributes:
        enabled: False is the paper's "without".
        stage: `marker` screens on span representations (the paper); `text` screens on the encoder's text
            states, and only survivors get markers. Without markers the two are one.
        ratio: at most ratio x words candidates are kept in a sentence, rounded up after a product in float32
            (.15 of 100 words are 16).
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
        direction: the weight from node i to j is KL(i || j), as in the `paper`, or KL(j || i) (`gdpnet`).
        normalization: of A + I: by `row`, D^-1 (A + I), or `symmetric`, D^-1/2 (A + I) D^-1/2 (Appendix A).
    """

    layers: int = 2
    heads: int = 4
    dropout: float = 0.1
    sigma_min: float = 0.1
    direction: Literal["paper", "gdpnet"] = field(default="paper", metadata={"neutral": "paper"})
    normalization: Literal["row", "symmetric"] = field(default="row", metadata={"neutral": "row"})


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """What stands on top of the encoder.

    Attributes:
        dropout: of every fully connected layer.
        shortcut: RE: add PL-Marker's additive subject and object logits to the pair's.
        kind: `fc`: spans and pairs go through fully connected layers (Eq. 10, 13) and are then classified;
            `linear`: one linear layer on the encoder's states, in RE the sum of one for the subject's and
            one for the object's markers (PL-Marker). The graph needs `fc`.
        symmetric_rule: RE: how the two directions of a pair are joined: the class with the highest `sum` of
            log-probabilities (PL-Marker), or only a class that `both` directions hold for likelier than
            `relation_threshold` (Appendix B.9).
        relation_threshold: see `symmetric_rule`.
        object_typing: RE: a classifier of the objects' entity types on their markers (PL-Marker). `loss`
            trains it jointly and leaves the entities the types that they came with; with `types` the
            entities between which relations are predicted take its types.
        overlapping_triples: RE: `drop` leaves out a predicted relation if a likelier one of its type has a
            subject that overlaps its subject and an object that overlaps its object (PL-Marker); `keep`.
    """

    dropout: float = 0.1
    shortcut: bool = True
    kind: Literal["fc", "linear"] = field(default="fc", metadata={"neutral": "fc"})
    symmetric_rule: Literal["sum", "both"] = field(default="sum", metadata={"neutral": "sum"})
    relation_threshold: float = field(default=0.5, metadata={"neutral": 0.5})
    object_typing: Literal["off", "loss", "types"] = field(default="off", metadata={"neutral": "off"})
    overlapping_triples: Literal["keep", "drop"] = field(default="keep", metadata={"neutral": "keep"})


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
        selection_entities: RE: between whose entities relations are predicted for that choice: `gold`, or the
            id of the NER trial that predicts them, and then by RE+ (a search sets it).
        micro_batch_tokens: a step's batch is computed in parts of at most so many padded tokens, whose
            gradients add up to the batch's; None computes it at once. Saves memory; only dropout differs.
        activation_checkpointing: activations of the encoder are computed again in the backward pass, not
            held: less memory, a third more operations, the same gradients.
        compile: in training on a CUDA device `torch.compile` the encoder's passes; never measured on one. Not
            with `activation_checkpointing`, which torch 2.13 fails to compile through several layers.
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
    selection_averaging: Averaging = "micro"
    selection_entities: str = field(default="gold", metadata={"neutral": "gold"})
    micro_batch_tokens: int | None = field(default=None, metadata={"neutral": None})
    activation_checkpointing: bool = field(default=False, metadata={"neutral": False})
    compile: bool = field(default=False, metadata={"neutral": False})


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """One resolved config of one phase; `lai_net.active_settings` says which of its settings act there.

    Raises:
        InputError: settings that do not go together.
    """

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
    def evaluated_on(self) -> tuple[EntitySource, ...]:
        """Whose entities the evaluations take that need no other trial."""
        if self.phase == "NER":
            return ("predicted",)
        return ("gold",) if self.head.object_typing == "off" else ("gold", "gold_typed_by_model")

    @property
    def screens_text(self) -> bool:
        """Whether a filter chooses candidates before they are marked."""
        screens = self.phase == "NER" and self.filter.enabled and self.filter.stage == "text"
        return screens and self.input.family != "vanilla"

    @property
    def has_constant_states(self) -> bool:
        """Whether what the encoder says of a text and its candidates can be computed once, for all trials.

        With fixed features, unless the states depend on which other candidates are in a pack, or each
        candidate takes a copy of the text: such states are computed whenever they are needed.
        """
        once = self.input.reads_context_once and self.input.family != "marker"
        return self.encoder.freeze == "features" and once

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
        (0 <= inp.context_tokens <= inp.max_text_tokens - 2,
         "0 <= input.context_tokens <= input.max_text_tokens - 2",
         f"{inp.context_tokens} and {inp.max_text_tokens}"),
        (inp.max_span_words >= 1, "input.max_span_words >= 1", inp.max_span_words),
        (inp.max_candidates >= 1, "input.max_candidates >= 1", inp.max_candidates),
        (inp.family != "marker" or config.phase == "RE" or config.screens_text,
         'filter.enabled = true and filter.stage = "text" with input.representation = "marker" in NER, where '
         "every candidate takes a pass of the encoder", f"{str(flt.enabled).lower()} and {flt.stage}"),
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
        (config.head.kind == "fc" or graph.layers == 0, 'graph.layers = 0 with head.kind = "linear"',
         graph.layers),
        (0 <= config.head.relation_threshold < 1, "0 <= head.relation_threshold < 1",
         config.head.relation_threshold),
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
        (config.phase == "RE" or train.selection_entities == "gold",
         'training.selection_entities = "gold" in NER', train.selection_entities),
        (not (train.compile and train.activation_checkpointing),
         "training.compile = false with training.activation_checkpointing = true", "true"),
        (train.micro_batch_tokens is None or train.micro_batch_tokens >= 1,
         "training.micro_batch_tokens >= 1", train.micro_batch_tokens),
    ]  # fmt: skip
    return [(rule, str(got)) for holds, rule, got in rules if not holds]
