"""The model's commands of `lai`; every command imports what it needs when it runs."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lai_net.corpora.records import Format
from lai_net.errors import InputError
from lai_net.metrics.scoring import Averaging, Protocol
from lai_net.model_commands import predict, save
from lai_net.train_command import train

if TYPE_CHECKING:
    from lai_net.corpora.check import FoldReport
    from lai_net.schema import Sentence

app = typer.Typer(no_args_is_help=True)
corpus_app = typer.Typer(no_args_is_help=True, help="Look at corpora, and fetch public ones.")
app.add_typer(corpus_app, name="corpus")
app.command()(train)
app.command()(predict)
app.command()(save)


@corpus_app.command("check")
def corpus_check(
    path: Annotated[str, typer.Argument(help="A file, a folder of splits or folds, or 'embedded'.")],
    file_format: Annotated[Format | None, typer.Option("--format", help="Detected unless given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count a corpus by split and label, and say what is odd about it."""
    from lai_net.corpora.check import check_corpus

    report = check_corpus(path, file_format)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
        return
    for index, fold in enumerate(report.folds):
        suffix = f", fold {index}" if len(report.folds) > 1 else ""
        _print_fold(f"{report.source} ({report.format}{suffix})", fold)


def _print_fold(title: str, fold: "FoldReport") -> None:
    """Print one table: a column a split; what no split has is left out."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from lai_net.corpora.check import ODDITIES

    splits = fold.splits.values()
    table = Table("", *fold.splits)
    for column in table.columns[1:]:
        column.justify = "right"

    def add(name: str, counts: list[int]) -> None:
        table.add_row(escape(name), *map(str, counts))

    def add_all(counts: list[Mapping[str, int]], spell: Callable[[str], str]) -> None:
        for name in sorted({name for by_name in counts for name, count in by_name.items() if count}):
            add(spell(name), [by_name.get(name, 0) for by_name in counts])

    for name in ("documents", "sentences", "words"):
        add(name, [getattr(split, name) for split in splits])
    for total, by_label in (("entities", "entity_labels"), ("relations", "relation_labels")):
        table.add_section()
        add(total, [getattr(split, total) for split in splits])
        add_all([getattr(split, by_label) for split in splits], "  {}".format)
    table.add_section()
    add_all([split.oddities for split in splits], ODDITIES.__getitem__)
    add_all([split.unknown_keys for split in splits], "unknown key {!r}".format)
    console = Console()
    console.print(escape(title), soft_wrap=True)
    console.print(table)
    for pair, count in fold.shared_documents.items():
        if count:
            console.print(f"documents in both splits of {pair}: {count}")
    for line in _remarks(fold):
        console.print(escape(line), soft_wrap=True)


def _remarks(fold: "FoldReport") -> Iterator[str]:
    """What cannot be trained with, what labels may be slips, and the first place of every oddity."""
    from lai_net.corpora.check import ODDITIES

    yield from fold.obstacles
    for kind, labels in fold.unseen_labels.items():
        if labels:
            yield f"labels of {kind} that train lacks: {', '.join(labels)}"
    for kind, spellings in fold.label_spellings.items():
        if spellings:
            yield f"labels of {kind} that differ by case alone: {'; '.join(map(' and '.join, spellings))}"
    for name, what in ODDITIES.items():
        for split, report in fold.splits.items():
            if name in report.places:
                yield f"first of {what}: {split}, {report.places[name][0]}"
                break


@corpus_app.command("fetch")
def corpus_fetch(
    name: Annotated[Literal["scierc", "ade", "conll04"], typer.Argument(help="A public corpus.")],
    to: Annotated[Path, typer.Option(help="Folder for its files; made where missing.")],
) -> None:
    """Bring a public corpus from its official address; a call that was cut goes on when repeated."""
    from rich.console import Console

    from lai_net.corpora.fetch import fetch
    from lai_net.corpora.sources import SOURCES

    source = SOURCES[name]
    came = fetch(source, to, Console(stderr=True))
    typer.echo(f"{to}: {len(source.checksums)} files, {len(came)} of them new, every SHA-256 as expected")


@app.command()
def score(
    gold: Annotated[Path, typer.Argument(help="Gold: DyGIE JSON lines or SpERT JSON.")],
    predicted: Annotated[
        Path,
        typer.Argument(metavar="PRED", help="DyGIE JSON lines with predicted_ner, or PL-Marker's RE output."),
    ],
    ner: Annotated[
        Path | None, typer.Option(help="PL-Marker's NER output, where PRED is its RE output.")
    ] = None,
    protocol: Annotated[Protocol, typer.Option(help="Whose rules count.")] = "pure",
    averaging: Annotated[Averaging, typer.Option(help="Over counts, or over labels.")] = "micro",
    annotations: Annotated[
        str | None,
        typer.Option(help="Names symmetric relations for plmarker: a shipped name or a TOML file."),
    ] = None,
    symmetric: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help='Names one for plmarker; repeat it, or give "" for none.'),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (rates 0-1).")] = False,
) -> None:
    """Score predictions exactly as they are given.

    plmarker counts a symmetric relation in both directions. Which types are symmetric is known of SciERC,
    ADE, CoNLL04 and ACE05.
    """
    from lai_net.corpora.loading import read_corpus_file
    from lai_net.corpora.predictions import align, read_predictions
    from lai_net.metrics.scoring import score_sentences

    _check_symmetry_options(protocol, annotations, symmetric)
    gold_file = read_corpus_file(gold)
    truths, guesses = align(gold_file, read_predictions(predicted, ner), gold, predicted)
    undirected = frozenset[str]()
    if protocol == "plmarker":
        undirected = _symmetric_types(truths, guesses, annotations, symmetric)
    if not any(guess.relations for guess in guesses):
        typer.echo(f"{predicted} holds no relation", err=True)
    scores = score_sentences(truths, guesses, protocol=protocol, averaging=averaging, symmetric=undirected)
    if as_json:
        typer.echo(json.dumps({task: asdict(rates) for task, rates in scores.items()}))
        return
    typer.echo(f"{'':4}{'precision':>10}{'recall':>10}{'f1':>10}  (percent, {protocol}, {averaging})")
    for task, rates in scores.items():
        typer.echo(f"{task:4}{rates.precision:10.2%}{rates.recall:10.2%}{rates.f1:10.2%}")


def _check_symmetry_options(
    protocol: Protocol, annotations: str | None, symmetric: Sequence[str] | None
) -> None:
    for name, given in (("--annotations", annotations), ("--symmetric", symmetric)):
        if given is not None and protocol == "pure":
            raise InputError(f"{name} names symmetric relations, which pure has not; leave it out")
    if annotations is not None and symmetric is not None:
        raise InputError("--annotations and --symmetric both name symmetric relations; give one of them")


def _symmetric_types(
    gold: "Iterable[Sentence]",
    predicted: "Iterable[Sentence]",
    annotations: str | None,
    given: Sequence[str] | None,
) -> frozenset[str]:
    """The relation types that have no direction, as options say or as is known of the gold file's."""
    from lai_net.corpora.annotations import symmetric_types

    types, guessed = (
        {relation.type for sentence in sentences for relation in sentence.relations}
        for sentences in (gold, predicted)
    )
    every = types | guessed
    if not every:
        return frozenset()
    if given is None:
        return symmetric_types(types or guessed, annotations)
    named = frozenset(given) - {""}
    if strangers := named - every:
        raise InputError(
            f"--symmetric {min(strangers)!r} is no relation type of these files, which have "
            f"{', '.join(map(repr, sorted(every)))}; mend or leave it out"
        )
    return named
