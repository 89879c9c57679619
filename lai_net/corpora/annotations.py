"""Label annotations: the phrase for each label of a corpus (paper, Section 3.2), kept as TOML.

The files that ship lie in `lai_net/annotations`; a user's own has the same form: tables `[entities]` and
`[relations]` with `label = "phrase"`, and a list `symmetric` of relation types without a direction.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lai_net.errors import InputError
from lai_net.files import read_toml
from lai_net.schema import Document, Labels

FOLDER = Path(__file__).parents[1] / "annotations"
MAX_PHRASE_WORDS = 10
"""Source: the paper's Appendix B.7."""

_FORM = 'write [entities] and [relations] with label = "phrase", and symmetric = [relation labels]'


@dataclass(frozen=True, slots=True)
class LabelUse:
    """The labels that documents use."""

    entities: AbstractSet[str]
    relations: AbstractSet[str]


def used_labels(documents: Iterable[Document]) -> LabelUse:
    """Collect the labels of all annotations."""
    entities: set[str] = set()
    relations: set[str] = set()
    for document in documents:
        for sentence in document.sentences:
            entities.update(entity.type for entity in sentence.entities)
            relations.update(relation.type for relation in sentence.relations)
    return LabelUse(entities, relations)


def shipped_annotations() -> list[str]:
    """Names of the annotations that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_labels(use: LabelUse, annotations: str | None = None) -> Labels:
    """The inventory for a corpus: the named one, or the first shipped one that has all labels in use.

    Args:
        use: the corpus' labels.
        annotations: name of a shipped file, or path of a TOML file.

    Raises:
        InputError: labels without a phrase, or a file that is not in form.
    """
    if annotations is not None:
        labels = load_labels(annotations)
        missing = _missing(use, labels)
        if missing:
            raise InputError(
                f"annotations {annotations} have no phrase for {missing}; add those labels to the file"
            )
        return labels
    found = _shipped(use)
    if found is None:
        everything = _missing(use, Labels(entities={}, relations={}))
        raise InputError(
            f"no shipped annotations ({', '.join(shipped_annotations())}) have all labels of this corpus: "
            f'{everything}; give a TOML file as annotations ([entities] and [relations], label = "phrase")'
        )
    return found


def symmetric_types(types: AbstractSet[str], annotations: str | None = None) -> frozenset[str]:
    """The relation types without a direction of the inventory that has all of these.

    Args:
        types: relation types of a corpus; its entity types do not matter.
        annotations: as in `find_labels`.

    Raises:
        InputError: no inventory has them, or a file that is not in form.
    """
    use = LabelUse(frozenset(), types)
    found = _shipped(use) if annotations is None else find_labels(use, annotations)
    if found is None:
        raise InputError(
            f"no shipped annotations say which relation types of {', '.join(map(repr, sorted(types)))} are "
            'symmetric; give --symmetric LABEL for each that is (--symmetric "" if none is), or the corpus\' '
            "--annotations"
        )
    return found.symmetric


def _shipped(use: LabelUse) -> Labels | None:
    """The first shipped inventory that has all labels in use."""
    every = map(load_labels, shipped_annotations())
    return next((labels for labels in every if not _missing(use, labels)), None)


def _missing(use: LabelUse, labels: Labels) -> str:
    groups = {
        "entity types": use.entities - labels.entities.keys(),
        "relation types": use.relations - labels.relations.keys(),
    }
    return "; ".join(
        f"{name} {', '.join(map(repr, sorted(group)))}" for name, group in groups.items() if group
    )


def load_labels(annotations: str) -> Labels:
    """Read an annotation file by name (shipped) or path.

    Raises:
        InputError: no such file, or one that is not in form.
    """
    shipped = shipped_annotations()
    try:
        value = read_toml(FOLDER / f"{annotations}.toml" if annotations in shipped else Path(annotations))
    except FileNotFoundError as error:
        raise InputError(
            f"annotations {annotations!r} are neither a file nor one of {', '.join(shipped)}; check the path"
        ) from error
    return _labels(value, annotations)


def _labels(value: dict[str, Any], source: str) -> Labels:
    unknown = value.keys() - {"entities", "relations", "symmetric"}
    if unknown:
        raise InputError(f"{source}: unknown keys {', '.join(sorted(unknown))}; {_FORM}")
    entities, relations = (_phrases(value.get(name), name, source) for name in ("entities", "relations"))
    symmetric = value.get("symmetric", [])
    if not isinstance(symmetric, list) or any(label not in list(relations) for label in symmetric):
        raise InputError(
            f"{source}: symmetric must list labels of [relations], but is {symmetric!r}; {_FORM}"
        )
    return Labels(entities=entities, relations=relations, symmetric=frozenset(symmetric))


def _phrases(table: Any, name: str, source: str) -> dict[str, str]:
    if not isinstance(table, dict):
        raise InputError(f"{source}: the table [{name}] is missing; {_FORM}")
    for label, phrase in table.items():
        if not isinstance(phrase, str) or not 1 <= len(phrase.split()) <= MAX_PHRASE_WORDS:
            raise InputError(
                f"{source}: {name}.{label} must be a phrase of 1 to {MAX_PHRASE_WORDS} words, "
                f"but is {phrase!r}; mend it"
            )
    return table
