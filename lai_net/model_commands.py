"""`lai train` and `lai predict`: one trial without Ray, and what a trained pair of models finds."""

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lai_net.errors import InputError

if TYPE_CHECKING:
    from lai_net.schema import Sentence
    from lai_net.training.task import PredictedSentence

_WORD = re.compile(r"\w+|[^\w\s]")


class PhaseOption(StrEnum):
    """What to train."""

    NER = "ner"
    RE = "re"


def train(  # noqa: PLR0913 - an argument an option
    phase: Annotated[PhaseOption, typer.Argument(help="Which phase.")],
    corpus: Annotated[str, typer.Option(help="A folder of splits, or 'embedded'.")],
    preset: Annotated[str, typer.Option(help="A shipped preset or a TOML file.")],
    seed: Annotated[int, typer.Option(help="Of every random stream.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and the best model.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, as in a preset.")] = None,
    annotations: Annotated[
        str | None, typer.Option(help="Label phrases: a shipped name or a TOML file.")
    ] = None,
    fold: Annotated[int | None, typer.Option(help="Of a corpus with folds, from 0.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
) -> None:
    """Train one phase; called again, it goes on from its last epoch."""
    from lai_net.config import with_settings
    from lai_net.corpora.loading import load_corpus
    from lai_net.preset import load_preset

    config = load_preset(preset)
    if config.phase != phase.value.upper():
        raise InputError(
            f"preset {preset!r} is for {config.phase}, but {phase.value} is asked for; give another"
        )
    config = with_settings(config, dict(_setting(text) for text in settings or ()))
    loaded = load_corpus(corpus, name=corpus, annotations=annotations, fold=fold)

    from lai_net.pipeline import evaluate_trial, train_trial

    _one_thread()
    for report in train_trial(config, seed, loaded, out, device=device):
        typer.echo(
            f"epoch {report.epoch}/{report.num_epochs}: loss {report.loss:.3f}, F1 {report.dev['f1']:.2%}",
            err=True,
        )
    for split in ("dev", "test"):
        if split in loaded.splits:
            typer.echo(json.dumps(evaluate_trial(out / "best", loaded, split, device=device).as_dict()))


def predict(
    ner: Annotated[Path, typer.Option(help="Folder of a trained NER model.")],
    re_model: Annotated[Path, typer.Option("--re", help="Folder of a trained RE model.")],
    text: Annotated[str | None, typer.Option(help="One sentence.")] = None,
    source: Annotated[
        Path | None, typer.Option("--input", help="A text file (a sentence a line) or a corpus file.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
) -> None:
    """Print entities and relations with their scores, a JSON line a sentence."""
    sentences = list(_sentences(text, source))

    from lai_net.pipeline import extract, load_model

    _one_thread()
    predictions = extract(load_model(ner, device), load_model(re_model, device), sentences)
    for found in predictions.sentences:
        typer.echo(json.dumps(_as_json(found), ensure_ascii=False))
    if predictions.coverage["sentences_cut"]:
        typer.echo(
            f"{predictions.coverage['sentences_cut']} sentences were cut at the models' limit", err=True
        )


def _one_thread() -> None:
    """As in `lai run`: sums keep their order, so both give the same bits on a CPU."""
    import torch

    torch.set_num_threads(1)


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text!r}: give key=value, e.g. graph.layers=1")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _sentences(text: str | None, source: Path | None) -> Iterator["Sentence"]:
    from lai_net.corpora.loading import read_corpus_file
    from lai_net.schema import Sentence, iterate_sentences

    if (text is None) == (source is None):
        raise InputError("give either --text or --input")
    if source is not None and source.suffix in {".json", ".jsonl"}:
        yield from iterate_sentences(read_corpus_file(source).documents)
        return
    try:
        content = text if source is None else source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{source}: cannot be read as text ({error}); give a UTF-8 file") from error
    for line in (content or "").splitlines():
        if line.strip():
            yield Sentence(tuple(_WORD.findall(line)))


def _as_json(found: "PredictedSentence") -> dict[str, Any]:
    """Word indices are half-open; relations name the index of their entities."""
    spans = {entity.span: index for index, (entity, _) in enumerate(found.entities)}
    return {
        "tokens": list(found.words),
        "entities": [
            {"start": entity.span.start, "end": entity.span.end, "type": entity.type, "score": score}
            for entity, score in found.entities
        ],
        "relations": [
            {
                "subject": spans[relation.subject.span],
                "object": spans[relation.object.span],
                "type": relation.type,
                "score": score,
            }
            for relation, score in found.relations
        ],
    }
