"""`LaiNet`: a trained NER and a trained RE model together, for texts of any kind."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from lai_net.device import checked_device, has_bf16
from lai_net.doubts import SLOW_BF16
from lai_net.errors import InputError
from lai_net.extraction import Extraction, Text, TextFrame, cut_text
from lai_net.saved_model import read_model, write_model
from lai_net.schema import Entity, Sentence, iterate_sentences
from lai_net.trained_model import TrainedModel, load_model
from lai_net.training.checkpoint import best_model
from lai_net.training.task import PredictedSentence, Predictions


class SentencesCut(UserWarning):
    """Sentences exceed what a model reads (`input.max_text_tokens`).

    Attributes:
        places: of each the index of its text and its own in that, from 0.
    """

    def __init__(self, places: Sequence[tuple[int, int]]) -> None:
        super().__init__(places)
        self.places = places

    def __str__(self) -> str:
        return self.naming(lambda number: f"text {number}")

    def naming(self, text: Callable[[int], str]) -> str:
        """One line, in which `text` names a text by its index; sentences are counted from 0, as in `cut`."""
        named = [f"{text(number)}, sentence {index}" for number, index in self.places]
        were = "sentence was" if len(named) == 1 else "sentences were"
        return f"{len(named)} {were} cut at the models' limit: {'; '.join(named)}"


class LaiNet:
    """Entities, and the relations between them.

        model = LaiNet.from_pretrained("my-model")
        for found in model.extract(["A text of one or more sentences."]):
            print(found.entities, found.relations)

    Args:
        ner: the model that finds entities.
        re: the model that relates them.

    Raises:
        InputError: a model is of the other phase.
    """

    def __init__(self, ner: TrainedModel, re: TrainedModel) -> None:
        for model, phase in ((ner, "NER"), (re, "RE")):
            if model.config.phase != phase:
                raise InputError(
                    f"a model of phase {phase} is needed, but got one of {model.config.phase}; swap the two"
                )
        self.ner = ner
        self.re = re
        self._is_slowness_told = False

    def __repr__(self) -> str:
        encoders = dict.fromkeys(model.config.encoder.name for model in (self.ner, self.re))
        return (
            f"LaiNet(encoder {' and '.join(encoders)}, entities {', '.join(self.ner.labels.entities)}, "
            f"relations {', '.join(self.re.labels.relations)}, on {self.ner.task.device})"
        )

    @classmethod
    def from_trials(cls, ner_dir: str | Path, re_dir: str | Path, *, device: str = "cpu") -> Self:
        """Join two trials: folders of `lai train --out`, or `best` in a trial's artefacts.

        Raises:
            InputError: no finished training there, or its encoder is not at hand unchanged.
        """
        device = checked_device(device)
        return cls(*(load_model(best_model(Path(folder)), device) for folder in (ner_dir, re_dir)))

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str = "cpu") -> Self:
        """Load what `save_pretrained` wrote; needs no encoder beside it, and executes nothing of it.

        Raises:
            InputError: no saved model there, or a damaged one.
        """
        models = read_model(Path(folder), checked_device(device))
        return cls(models["NER"], models["RE"])

    def save_pretrained(self, folder: str | Path) -> None:
        """Write both models into one folder: `config.json`, `model.safetensors` and the tokenizer's files.

        Raises:
            InputError: the folder cannot be written.
        """
        write_model(Path(folder), {"NER": self.ner, "RE": self.re})

    def extract(self, texts: Sequence[Text]) -> list[Extraction]:
        """Find entities and relations in texts, in batches; a text's results do not depend on the others.

        Warns (`SentencesCut`) where a sentence exceeds what a model reads: its rest is not read, which
        `Extraction.cut` tells, too; and once where a model computes in bf16 on a device that is slow in it.

        Args:
            texts: raw text each (see `lai_net.inputs.raw_text` for how it is cut), or a list of words (one
                sentence), or a list of such lists (a document).

        Returns:
            An extraction a text, in order.

        Raises:
            InputError: a text is neither.
        """
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise InputError(
                f"texts must be a list of texts, but got {type(texts).__name__}; put a single one into a list"
            )
        frames = [cut_text(text) for text in texts]
        self._tell_slowness()
        found = self.predict(list(iterate_sentences([frame.document for frame in frames])))
        cut = self._cut_places(frames) if found.coverage["sentences_cut"] else []
        if cut:
            warnings.warn(SentencesCut(cut), stacklevel=2)
        sentences = iter(found.sentences)
        return [
            frame.extraction(
                [next(sentences) for _ in frame.sentences],
                [index for number, index in cut if number == position],
            )
            for position, frame in enumerate(frames)
        ]

    def _tell_slowness(self) -> None:
        """Warn of bf16 where it is slow, if that was not done before."""
        in_bf16 = [model for model in (self.ner, self.re) if model.config.training.precision == "bf16"]
        device = str(self.ner.task.device)
        if in_bf16 and not self._is_slowness_told and not has_bf16(device):
            phases = " and ".join(model.config.phase for model in in_bf16)
            compute = "computes" if len(in_bf16) == 1 else "compute"
            warnings.warn(f"{phases} {compute} in bf16, but {device} {SLOW_BF16}", stacklevel=3)
        self._is_slowness_told = True

    def _cut_places(self, frames: Sequence[TextFrame]) -> list[tuple[int, int]]:
        """Text and sentence, from 0, of what either model cuts."""
        return [
            (number, index)
            for number, frame in enumerate(frames)
            for index, sentence in enumerate(frame.document.sentences)
            if any(_cuts(model, sentence) for model in (self.ner, self.re))
        ]

    def predict(self, sentences: Sequence[Sentence]) -> Predictions:
        """Entities, then relations between them, of sentences of words; each with its score.

        What no model could read is counted in the result's `coverage` (`sentences_cut`).
        """
        bare = [replace(sentence, entities=(), relations=()) for sentence in sentences]
        found = self.ner.task.predict(bare)
        related = self.re.task.predict(
            [
                replace(sentence, entities=item.sentence.entities)
                for sentence, item in zip(bare, found.sentences, strict=True)
            ]
        )
        both = [
            PredictedSentence(entities.words, _as_typed(entities, relations), relations.relations)
            for entities, relations in zip(found.sentences, related.sentences, strict=True)
        ]
        cut = max(item.coverage["sentences_cut"] for item in (found, related))  # either model may read less
        return Predictions(both, Counter({**found.coverage, "sentences_cut": cut}))


def _cuts(model: TrainedModel, sentence: Sentence) -> bool:
    """Whether a model reads less than the whole sentence."""
    read = model.task.tokenizer.text(sentence.words, model.config.input.max_text_tokens)
    return len(read.bounds) < len(sentence.words)


def _as_typed(found: PredictedSentence, related: PredictedSentence) -> tuple[tuple[Entity, float], ...]:
    """The entities as the RE model names them (`head.object_typing`), with its scores; else as they were."""
    return tuple(
        own if named == (own[0], 1.0) else named
        for own, named in zip(found.entities, related.entities, strict=True)
    )
