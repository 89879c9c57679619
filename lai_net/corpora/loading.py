"""From a source (a file, a folder, ADE's folds, or the generated corpus) to a `Corpus`."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from lai_net.corpora.annotations import find_labels, used_labels
from lai_net.corpora.dygie import read_dygie
from lai_net.corpora.embedded import generate_splits
from lai_net.corpora.records import CorpusFile, Format
from lai_net.corpora.spert import read_spert
from lai_net.errors import InputError
from lai_net.files import unreadable
from lai_net.schema import Corpus, Document
from lai_net.wording import counted

EMBEDDED = "embedded"
SPLITS = ("train", "dev", "test")
DEV_SHARE = 0.1
"""Share of a fold's train part that becomes its dev split."""

OverlappingRelations = Literal["keep", "drop"]
"""What becomes of relations between two spans that share a word."""

_NUM_SHOWN = 10
_FOLD_PARTS = ("train", "test")
_FOLD_FILE = re.compile(r".*_split_(\d+)_(train|test)\.json")


def load_corpus(
    source: str,
    *,
    name: str,
    annotations: str | None = None,
    fold: int | None = None,
    overlapping_relations: OverlappingRelations = "keep",
) -> Corpus:
    """Load a corpus with its label inventory.

    Args:
        source: `embedded`; a file (one split, `train`); a folder with files that end in `train.json`,
            `dev.json` and `test.json`; or a folder of folds (`*_split_K_train.json`, `*_split_K_test.json`),
            itself or as its sub-folder `folds`.
        name: the corpus' name.
        annotations: a shipped annotation file's name or a TOML file's path; None finds a shipped one.
        fold: 0-based; required where there are folds. Its dev split is cut from its train part (`cut_dev`).
        overlapping_relations: `drop` leaves them out of every split; entities stay. The literature has both
            variants of ADE, which has 120 such relations.

    Raises:
        InputError: the source, its files, labels or fold are wrong.
    """
    if source == EMBEDDED:
        splits: Mapping[str, Sequence[Document]] = generate_splits()
        _check_fold(fold, 1)
    else:
        folds = locate_folds(source)
        _check_fold(fold, len(folds))
        files = {split: read_corpus_file(path) for split, path in folds[fold or 0].items()}
        splits = {split: file.documents for split, file in files.items()}
        if splits.keys() == {"train", "test"}:
            train, dev = cut_dev(splits["train"], fold or 0)
            splits = {"train": train, "dev": dev, "test": splits["test"]}
    if overlapping_relations == "drop":
        splits = {split: [without_overlapping_relations(doc) for doc in splits[split]] for split in splits}
    use = used_labels(document for documents in splits.values() for document in documents)
    labels = find_labels(use, annotations)
    return Corpus(name=name, splits={split: tuple(splits[split]) for split in splits}, labels=labels)


def check_splits(corpus: Corpus, source: str) -> None:
    """Refuse a corpus that cannot be trained, selected and tested on, before that takes its time.

    Args:
        corpus: all of its splits are looked at; one that is not there is its user's to miss.
        source: that it was loaded from.

    Raises:
        InputError: a split has no sentences.
    """
    for split in corpus.splits:
        if not any(document.sentences for document in corpus.splits[split]):
            what = f"{split} has no sentences"
            if split == "dev" and dev_is_cut(source):
                count = counted(len(corpus.splits["train"]), "document")
                what = f"dev, cut from a fold's train part, has no sentences (train is left with {count})"
            raise InputError(f"{source}: {what}; training needs sentences in train, dev and test: add some")


def dev_is_cut(source: str) -> bool:
    """Whether the source has no dev split of its own beside a test split (`cut_dev`)."""
    return source != EMBEDDED and locate_folds(source)[0].keys() == set(_FOLD_PARTS)


def without_overlapping_relations(document: Document) -> Document:
    """The document without relations between two spans that share a word."""
    sentences = (
        replace(sentence, relations=tuple(r for r in sentence.relations if not r.is_overlapping))
        for sentence in document.sentences
    )
    return Document(document.key, tuple(sentences))


def num_folds(source: str) -> int:
    """How many folds a source has; 1 where it is not cut into folds."""
    return 1 if source == EMBEDDED else len(locate_folds(source))


def _check_fold(fold: int | None, count: int) -> None:
    if fold is None and count > 1:
        raise InputError(f"the corpus has {count} folds; give one of 0 to {count - 1}")
    if fold and count == 1:
        raise InputError(f"fold {fold} does not exist, the corpus has no folds; leave the fold out")
    if fold is not None and not 0 <= fold < count:
        raise InputError(f"fold {fold} does not exist, the corpus has {count}; count folds from 0")


def cut_dev(train: Sequence[Document], fold: int) -> tuple[tuple[Document, ...], tuple[Document, ...]]:
    """Split a fold's train part into train and dev, whatever the order of its documents.

    Dev is the `DEV_SHARE` of the documents whose SHA-256 of `"<fold>:<key>"` is lowest: the fold and the keys
    alone decide. In ADE a document is one sentence. Both parts keep the file's order.
    """
    digests = {doc.key: hashlib.sha256(f"{fold}:{doc.key}".encode()).digest() for doc in train}
    dev_keys = set(sorted(digests, key=digests.__getitem__)[: num_dev(len(train))])
    return (
        tuple(document for document in train if document.key not in dev_keys),
        tuple(document for document in train if document.key in dev_keys),
    )


def num_dev(num_train: int) -> int:
    """How many of a fold's documents `cut_dev` takes."""
    return round(DEV_SHARE * num_train)


def locate_folds(source: str) -> list[dict[str, Path]]:
    """The files of a source: for each fold (one, where there are none), split -> path.

    Raises:
        InputError: no such path, or a folder without the files it should have.
    """
    path = Path(source)
    if path.is_file():
        return [{"train": path}]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; give a corpus file, a folder, or {EMBEDDED!r}")
    for folder in (path, path / "folds"):
        folds = _fold_files(folder)
        if folds:
            return folds
    return [{split: _split_file(path, split) for split in SPLITS}]


def _fold_files(folder: Path) -> list[dict[str, Path]]:
    found: dict[int, dict[str, Path]] = {}
    for path in sorted(folder.glob("*.json")):
        match = _FOLD_FILE.fullmatch(path.name)
        if match:
            parts = found.setdefault(int(match[1]), {})
            if match[2] in parts:
                raise InputError(
                    f"{path}: another file is fold {match[1]}'s {match[2]} part; keep one of them"
                )
            parts[match[2]] = path
    for fold in range(max(found, default=-1) + 1):
        for part in _FOLD_PARTS:
            if part not in found.get(fold, {}):
                raise InputError(f"{folder}: fold {fold} has no {part} file; add *_split_{fold}_{part}.json")
    return [{part: found[fold][part] for part in _FOLD_PARTS} for fold in sorted(found)]


def _split_file(folder: Path, split: str) -> Path:
    found = sorted(path for path in folder.glob(f"*{split}.json") if not path.name.startswith("."))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or f"none among {_contents(folder)}"
        raise InputError(
            f"{folder}: one file must end in {split}.json, but found {names}; "
            "give a folder with one train, one dev and one test file"
        )
    return found[0]


def _contents(folder: Path) -> str:
    """The first names in a folder, for a message."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return ", ".join([*names[:_NUM_SHOWN], *(["…"] if names[_NUM_SHOWN:] else [])]) or "nothing"


def read_corpus_file(path: Path, format: str | None = None) -> CorpusFile:  # noqa: A002
    """Read one gold file, in the format given or detected.

    Raises:
        InputError: with `path:line` for whatever is refused.
    """
    chosen = format or detect_format(path)
    if chosen not in _READERS:
        raise InputError(f"unknown format {chosen!r}; use {' or '.join(_READERS)}")
    return _READERS[chosen](path)


_READERS = {"dygie": read_dygie, "spert": read_spert}


def detect_format(path: Path) -> Format:
    """SpERT's file is one list, so its first character is a bracket; anything else is read as DyGIE.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise unreadable(path, error) from error
    return "spert" if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[") else "dygie"
