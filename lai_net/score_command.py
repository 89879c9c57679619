"""`lai score`: predictions against gold annotations, by PURE's or PL-Marker's rules."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lai_net.errors import InputError
from lai_net.metrics.scoring import Averaging, Protocol

if TYPE_CHECKING:
    from lai_net.schema import Sentence


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
