"""`lai corpus check` and `lai corpus fetch`."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lai_net.corpora.records import Format
from lai_net.corpora.sources import Name

if TYPE_CHECKING:
    from lai_net.corpora.check import FoldReport

app = typer.Typer(no_args_is_help=True, help="Look at corpora, and fetch public ones.")


@app.command("check")
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


@app.command("fetch")
def corpus_fetch(
    name: Annotated[Name, typer.Argument(help="A public corpus.")],
    to: Annotated[Path, typer.Option(help="Folder for its files; made where missing.")],
) -> None:
    """Bring a public corpus from its official address; a call that was cut goes on when repeated."""
    from rich.console import Console

    from lai_net.corpora.fetch import fetch
    from lai_net.corpora.sources import SOURCES

    source = SOURCES[name]
    came = fetch(source, to, Console(stderr=True))
    typer.echo(f"{to}: {len(source.checksums)} files, {len(came)} of them new, every SHA-256 as expected")
