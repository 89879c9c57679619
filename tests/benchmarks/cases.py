"""What is measured: a model in one arrangement of its computation, on some sentences."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import torch
from transformers import BertConfig, BertModel

from analysis.speed import arrangement
from lai_net.config import EncoderConfig, Phase, Precision, Representation, TrialConfig
from lai_net.corpora.loading import load_corpus
from lai_net.inputs.tokenization import word_tokenizer
from lai_net.model.pretrained import EncoderSource, encoder_source
from lai_net.preset import load_preset
from lai_net.schema import Corpus, Sentence
from lai_net.settings import with_settings
from lai_net.streams import Streams
from lai_net.training.loop import training_step
from lai_net.training.ner_task import NerTask
from lai_net.training.optimizer import build_optimizer
from lai_net.training.re_task import ReTask
from tests.benchmarks.padded import PL_MARKER, PaddedFirstRound
from tests.unit.representing import without_dropout
from tune.spec.baseline import as_pl_marker

SCIERC = Path(__file__).parents[3] / "shared" / "data" / "scierc"
ONE_BY_ONE = "one by one"
_SHAPES: dict[str, dict[str, Any]] = {  # random weights: time does not depend on what is in them
    "bert-base-shape": {},
    "tiny": {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96},
}
# By rank, so that as many candidates survive as with trained weights (decision 0011).
_LAI_NET = {"filter.ratio": 0.75, "filter.threshold": 0.0, "filter.cold_epochs": 0}
_PL_MARKER = {
    "input.annotations": False,
    "filter.enabled": False,
    "graph.layers": 0,
    "head.kind": "linear",
    "head.object_typing": "types",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the benchmark.

    Attributes:
        representation: of a span: `vanilla`, `marker`, `enumerate` or `annotate` (Eq. 1 to 4).
        variant: `padded` (PL-Marker's shapes, one dense pass), `dense` (one pass without padding),
            `two-pass`, `early-filter` (two passes, markers for survivors of the filter alone); either of the
            two may predict sentences `one by one`, and two passes train with `checkpointing` or in
            `micro-batches` of one example.
        step: `inference` or `training` (forward, backward and update).
        encoder: `minilm`, or a shape with random weights.
        preset: whose settings are measured, as a study trains them, its precision aside; empty for the
            config's defaults with all layers of the encoder.
        has_graph: False is the preset without its graph (the methods w/o 2nd and w/o 1st).
    """

    phase: Phase
    model: str
    representation: str
    variant: str
    step: str
    encoder: str
    precision: Precision
    preset: str = ""
    has_graph: bool = True

    @property
    def is_one_by_one(self) -> bool:
        """Sentences are predicted without neighbours."""
        return self.variant.endswith(ONE_BY_ONE)

    @property
    def group(self) -> tuple[str, ...]:
        """Cases of a group are measured in turns."""
        return self.phase, self.step, self.preset, self.encoder

    @property
    def in_fp32(self) -> "Case":
        """The same but for its precision."""
        return replace(self, precision="fp32")

    def config(self, batch_size: int) -> TrialConfig:
        """The settings of the model."""
        settings: dict[str, Any] = {"training.batch_size": batch_size, "training.precision": self.precision}
        if self.preset:
            return with_settings(self._of_preset(), settings)
        settings["encoder.name"] = self.encoder
        if self.model == "PL-Marker":
            settings |= _PL_MARKER
        else:
            settings |= _LAI_NET
            settings["input.representation"] = self.representation
        if self.variant.startswith("early-filter"):
            settings["filter.stage"] = "text"
        elif self.variant == "two-pass, checkpointing":
            settings["training.activation_checkpointing"] = True
        elif self.variant == "two-pass, micro-batches":
            settings["training.micro_batch_tokens"] = 1
        elif self.variant == "padded":
            settings["input.max_candidates"] = PL_MARKER[self.phase].pairs
        return with_settings(TrialConfig(phase=self.phase), settings)

    def _of_preset(self) -> TrialConfig:
        """What a study trains that has the preset as its base."""
        config = load_preset(self.preset)
        if self.model == "PL-Marker":
            config = as_pl_marker(config)
        else:
            changes = {
                "input.representation": self.representation,
                "input.annotations": self.representation == "annotate",
            }
            config = with_settings(config, changes if self.has_graph else changes | {"graph.layers": 0})
        if self.variant == "padded":
            config = with_settings(config, {"input.max_candidates": PL_MARKER[self.phase].pairs})
        return config


def speed_cases(encoders: Sequence[str], precisions: Sequence[Precision]) -> Iterator[Case]:
    """Every case whose speed is measured, group by group."""
    for encoder in encoders:
        for phase in ("NER", "RE"):
            for step in ("inference", "training"):
                for precision in precisions:
                    yield from _alike(phase, step, encoder, precision)


def _alike(phase: Phase, step: str, encoder: str, precision: Precision) -> Iterator[Case]:
    """What is compared with one another; what saves memory only where memory is measured."""

    def case(model: str, representation: str, variant: str) -> Case:
        return Case(
            phase=phase, model=model, representation=representation, variant=variant, step=step,
            encoder=encoder, precision=precision,
        )  # fmt: skip

    yield case("PL-Marker", "enumerate", "padded")
    yield case("PL-Marker", "enumerate", "two-pass")
    yield case("LAI-Net", "annotate", "two-pass")
    if phase == "NER":
        yield case("LAI-Net", "annotate", "early-filter")
    yield case("LAI-Net", "annotate", "dense")
    if (step, precision) == ("inference", "fp32"):
        yield case("LAI-Net", "annotate", f"two-pass, {ONE_BY_ONE}")
        if phase == "NER":
            yield case("LAI-Net", "annotate", f"early-filter, {ONE_BY_ONE}")
    if (phase, step, precision) == ("NER", "training", "fp32"):
        yield case("LAI-Net", "annotate", "two-pass, checkpointing")
        yield case("LAI-Net", "annotate", "two-pass, micro-batches")
    if step == "inference":
        yield case("LAI-Net", "vanilla", "dense")
        yield case("LAI-Net", "marker", "early-filter" if phase == "NER" else "dense")
        yield case("LAI-Net", "enumerate", "early-filter" if phase == "NER" else "two-pass")


def preset_cases(names: Sequence[str], precisions: Sequence[Precision]) -> Iterator[Case]:
    """Inference by the presets `NAME-ner` and `NAME-re` of committed studies: each model and representation.

    Every case is arranged as a trial arranges it, but for the padded one that ratios are against.
    """
    phases: tuple[Phase, ...] = ("NER", "RE")
    for name in names:
        for phase in phases:
            for precision in precisions:
                yield from _alike_of_preset(phase, f"{name}-{phase.lower()}", precision)


def _alike_of_preset(phase: Phase, preset: str, precision: Precision) -> Iterator[Case]:
    base = load_preset(preset)

    def case(model: str, representation: str, *, variant: str = "", has_graph: bool = True) -> Case:
        made = Case(
            phase=phase, model=model, representation=representation, variant=variant, step="inference",
            encoder=base.encoder.name, precision=precision, preset=preset, has_graph=has_graph,
        )  # fmt: skip
        return made if variant else replace(made, variant=arrangement(made.config(1)))

    yield case("PL-Marker", "enumerate", variant="padded", has_graph=False)
    yield case("PL-Marker", "enumerate", has_graph=False)
    for has_graph in (True, False):
        for representation in get_args(Representation):
            yield case("LAI-Net", representation, has_graph=has_graph)


def memory_cases(encoder: str) -> Iterator[Case]:
    """Every case of an encoder whose peak memory is measured; of presets it is that of every case."""
    for case in speed_cases([encoder], ["fp32"]):
        if case.variant == "padded" or (case.representation == "annotate" and not case.is_one_by_one):
            yield case


def benchmark_corpus() -> Corpus:
    """SciERC where it is, else the generated corpus."""
    if SCIERC.is_dir():
        return load_corpus(str(SCIERC), name="SciERC")
    return load_corpus("embedded", name="embedded")


def neighbours(
    sentences: Sequence[Sentence], phase: Phase, num_strata: int, width: int
) -> list[list[Sentence]]:
    """The middle `width` sentences of each of equal strata by size, such as an evaluation brings together.

    Size is words and, in RE, entities times words, since each entity reads the text; a sentence with
    fewer than two is not read there.
    """
    sized = [(len(sentence.words), sentence) for sentence in sentences]
    if phase == "RE":
        entities = [len({entity.span for entity in sentence.entities}) for sentence in sentences]
        both = zip(entities, sized, strict=True)
        sized = [(count * words, sentence) for count, (words, sentence) in both if count > 1]
    ordered = [sentence for _, sentence in sorted(sized, key=lambda size: size[0])]
    middles = [(2 * stratum + 1) * len(ordered) // (2 * num_strata) for stratum in range(num_strata)]
    starts = [max(0, middle - width // 2) for middle in middles]
    return [ordered[start : start + width] for start in starts]


class Workload:
    """A case's model with its sentences, ready to be run.

    Args:
        case: what is built.
        corpus: for its labels.
        blocks: of sentences, that a run goes through once; each is predicted together.
        batch_size: in training; sentences (NER) or subjects (RE).
        num_layers: keep so many of the encoder's layers; None keeps all.
        has_dropout: as its config says, or none at all.
    """

    def __init__(
        self,
        case: Case,
        corpus: Corpus,
        blocks: Sequence[Sequence[Sentence]],
        *,
        batch_size: int,
        num_layers: int | None = None,
        has_dropout: bool = True,
    ) -> None:
        self.case = case
        sentences = [sentence for block in blocks for sentence in block]
        self.blocks = [[sentence] for sentence in sentences] if case.is_one_by_one else blocks
        config = case.config(batch_size)
        kind = NerTask if case.phase == "NER" else ReTask
        streams = Streams(0, torch.device("cpu"))
        training = sentences if case.step == "training" else ()
        source = _source(case.encoder, config.encoder.num_layers)
        self.task = kind(config, corpus.labels, streams, torch.device("cpu"), training, source)
        model = self.task.model
        if case.variant == "padded":
            model.first_round = PaddedFirstRound.of(model.first_round, PL_MARKER[case.phase])
        elif (case.representation, case.variant) == ("annotate", "dense"):
            model.first_round.two_pass = False
        if num_layers is not None:
            model.first_round.encoder.layers = model.first_round.encoder.layers[:num_layers]
        if not has_dropout:
            without_dropout(model)
        self.num_layers = len(model.first_round.encoder.layers)
        self._optimizer = build_optimizer(model, config.training)

    def of(self, case: Case) -> "Workload":
        """That of a case which differs in its precision alone; model and optimizer are held once."""
        other, other.task = copy(self), copy(self.task)
        other.case = case
        other.task.config = with_settings(self.task.config, {"training.precision": case.precision})
        return other

    def hold_moments(self) -> None:
        """Make the optimizer's moments, which every step but the first finds made."""
        for parameter in self.task.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def warmed_up(self) -> Iterator[None]:
        """Inside, inference has what a split computes once: weights cast, annotations read."""
        if self.case.step != "inference":
            yield
            return
        with torch.no_grad(), self.task.autocast():
            self.task.predict(self.blocks[0])
            yield

    def __call__(self) -> None:
        """Predict each block, or train on all for an epoch."""
        if self.case.step == "inference":
            with self.task.autocast():
                for block in self.blocks:
                    self.task.predict(block)
            return
        self.task.model.train()
        self.task.streams.start_epoch(1)
        for losses in self.task.steps(1):
            training_step(self.task.model, self._optimizer, losses, self.task.config.training.clip)
        self._optimizer.zero_grad()  # as the next step would; others take their turn before it


@lru_cache(maxsize=1)
def _source(encoder: str, num_layers: int | None) -> EncoderSource:
    if encoder not in _SHAPES:
        return encoder_source(EncoderConfig(name=encoder, num_layers=num_layers))
    torch.manual_seed(0)
    return EncoderSource(
        word_tokenizer("minilm"), BertModel(BertConfig(**_SHAPES[encoder]), add_pooling_layer=False)
    )
