"""`lai predict` and `lai save`: what a trained pair of models finds."""

import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lai_net.command_options import (
    DeviceOption,
    LedgerOption,
    check_ledger,
    model_folder,
    progress_on_stderr,
    warn,
)
from lai_net.errors import InputError

if TYPE_CHECKING:
    from lai_net.corpora.texts import TextRecord
    from lai_net.extractor import LaiNet

Output = Literal["lines", "dygie"]
NerOption = Annotated[
    str | None, typer.Option(metavar="MODEL", help="NER: a folder of `lai train`, or a TRIAL_ID.")
]
ReOption = Annotated[str | None, typer.Option("--re", metavar="MODEL", help="RE: likewise.")]


def predict(  # noqa: PLR0913 - an argument an option
    context: typer.Context,
    ner: NerOption = None,
    re_model: ReOption = None,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Both in one folder, as `lai save` writes it.")
    ] = None,
    ledger: LedgerOption = None,
    text: Annotated[str | None, typer.Option(help="One text.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="A text a line (.txt), or JSON lines (.json, .jsonl); of other names, of - and of a pipe "
            "(standard input) the first line tells: JSON begins with a brace.",
        ),
    ] = None,
    output: Annotated[Output, typer.Option("--format", help="dygie: what `lai score` reads.")] = "lines",
    batch_size: Annotated[
        int, typer.Option(min=1, help="Texts that are read before they are answered.")
    ] = 64,
    device: DeviceOption = "cpu",
) -> None:
    """Print what is in each text as a JSON line: tokens, entities and relations with their scores.

    Input lines are texts, or JSON: {"text": "…"}, {"tokens": […]} or DyGIE documents {"sentences": [[…], …]}.
    An answer names its input by `line` and, where that has them, `doc_key` and `id`; `cut` has the indices of
    sentences of which a model read only the beginning.
    """
    if model is not None and (ner or re_model):
        raise InputError("--model holds both phases; give it, or --ner and --re")
    if model is not None and ledger is not None:
        raise InputError("--ledger names trials for --ner and --re; leave it out with --model")
    other = ", or --model with both in one folder"
    folders = () if model is not None else _model_folders(context, ner, re_model, ledger, other)
    records = _records(text, source, output)

    from lai_net.device import one_thread
    from lai_net.extractor import LaiNet

    one_thread()
    if model is not None:
        loaded = LaiNet.from_pretrained(model, device=device)
    else:
        loaded = LaiNet.from_trials(*folders, device=device)
    _answer(loaded, records, output, batch_size)


def save(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made where missing.")],
    ner: NerOption = None,
    re_model: ReOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Write two trained phases as one folder, which `LaiNet.from_pretrained` and `predict --model` read."""
    folders = _model_folders(context, ner, re_model, ledger)

    from lai_net.extractor import LaiNet
    from lai_net.saved_model import earlier_model

    replaced = "; the model that was there is replaced" if earlier_model(folder) else ""
    model = LaiNet.from_trials(*folders)
    model.save_pretrained(folder)
    typer.echo(f"{folder}: NER and RE, encoder and tokenizer included{replaced}", err=True)


def _model_folders(
    context: typer.Context, ner: str | None, re_model: str | None, ledger: Path | None, other: str = ""
) -> tuple[Path, Path]:
    """The folders of both phases' models; what is no folder is taken for a TRIAL_ID.

    `other` says how else a command's models may be given.
    """
    if ner is None or re_model is None:
        raise InputError(f"two models are needed: give --ner and --re{other}")
    check_ledger(ledger, ner, re_model)
    first, second = (model_folder(context, name, ledger) for name in (ner, re_model))
    return first, second


def _records(text: str | None, source: str | None, output: Output) -> "Iterable[TextRecord]":
    """The texts to read: all of a file, checked before anything is computed, or a stream's one by one."""
    from lai_net.corpora.texts import (
        TextRecord,
        distinctly_named,
        is_json_as_text,
        iterate_texts,
        read_texts,
    )

    if text is not None and source is not None:
        raise InputError("give either --text or --input")
    if text is not None:
        return [TextRecord(text)]
    if source is not None and source != "-":
        texts = read_texts(Path(source))
        if is_json_as_text(Path(source), texts):
            said = (
                "JSON, but a line of a .txt file is read as text; name the file .jsonl if it is not meant so"
            )
            warn([f"{source}:{texts[0].line}: {said}"])
        return list(distinctly_named(texts, Path(source))) if output == "dygie" else texts
    if source is None and sys.stdin.isatty():
        raise InputError("there is nothing to read: give --text or --input, or pipe texts in")
    stdin = Path("<stdin>")
    stream = iterate_texts(sys.stdin.buffer, stdin)
    return distinctly_named(stream, stdin) if output == "dygie" else stream


def _answer(model: "LaiNet", records: "Iterable[TextRecord]", output: Output, batch_size: int) -> None:
    """Print a line a record as its batch is done, with the progress on stderr if that is a terminal."""
    with progress_on_stderr("texts", has_lines=True) as progress:
        task = progress.add_task("", total=len(records) if isinstance(records, Sequence) else None)
        for batch in _batches(records, batch_size):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                extractions = model.extract([record.text for record in batch])
            for record, found in zip(batch, extractions, strict=True):
                is_dygie = output == "dygie"
                line = found.as_dygie(record.name) if is_dygie else record.origin | found.as_dict()
                typer.echo(json.dumps(line, ensure_ascii=False).encode())  # JSON is UTF-8
            warn(_said(warning.message, batch) for warning in caught)
            progress.advance(task, len(batch))


def _batches(records: "Iterable[TextRecord]", size: int) -> "Iterator[list[TextRecord]]":
    """What is before a bad record is a batch, too; then the record's error is raised."""
    batch: list[TextRecord] = []
    try:
        for record in records:
            batch.append(record)
            if len(batch) == size:
                yield batch
                batch = []
    except InputError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _said(warning: Warning | str, batch: "Sequence[TextRecord]") -> str:
    """A warning about a batch, in the numbers of its source."""
    from lai_net.extractor import SentencesCut

    if isinstance(warning, SentencesCut):
        return warning.naming(lambda number: batch[number].place)
    return str(warning)
