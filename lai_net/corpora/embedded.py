"""The corpus that ships as a generator: invented news from research, small enough to learn in seconds.

Sentences are an opener, a clause and a tail, put together at random and filled with names. What makes them
more than a lookup:
- one name can be a researcher, a place, a laboratory or an instrument, and only the clause tells which;
- the same connecting words ("of", "with", "in") stand for a relation or for none, by the types around them;
- some names occur in dev and test only, and some nouns look like entities but are none;
- a share of the labels is wrong on purpose, in every split, as in annotated corpora.

Only `random.Random.random` is used, whose sequence Python guarantees: every machine generates the same bytes.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lai_net.schema import Document, Entity, Relation, Sentence, Span

SEED = 2025
NUM_SENTENCES = {"train": 160, "dev": 40, "test": 60}
SENTENCE_WORDS = (6, 14)
AMBIGUITY = 0.3
"""Share of names drawn from those that several types share."""
LABEL_NOISE = 0.03
"""Share of entities and of relations with a wrong type."""
UNSEEN_SHARE = 0.15
"""Share of each list of names that the train split never uses."""

RESEARCHER, LABORATORY, INSTRUMENT, PLACE = "Researcher", "Laboratory", "Instrument", "Place"
WORKS_AT, LOCATED_AT, BUILT_BY, PARTNER_OF = "Works-At", "Located-At", "Built-By", "Partner-Of"
ENTITY_TYPES = (RESEARCHER, LABORATORY, INSTRUMENT, PLACE)
RELATION_TYPES = (WORKS_AT, LOCATED_AT, BUILT_BY, PARTNER_OF)

_SHARED_BY_PEOPLE_AND_PLACES = (
    "Lincoln Jackson Austin Jordan Florence Victoria Charlotte Sydney Chester Lancaster Houston Washington"
)
_SHARED_BY_LABORATORIES_AND_INSTRUMENTS = (
    "Atlas Mercury Apollo Phoenix Titan Eagle Orion Falcon Neptune Aurora"
)
_NAMES = {
    "first": "Anna Peter Maria James Laura Daniel Emma Thomas Sarah Henry Julia Martin Alice Robert Clara "
    "Simon Helen Oscar Nina Felix Ruth Adam Diana Hugo",
    "surname": "Baker Miller Walker Fischer Cooper Turner Novak Weber Wagner Clark Evans Foster Hughes "
    "Morgan Bennett Carter Murphy Palmer Russell Schmidt Spencer Watson Wright Young",
    "city": "Paris Berlin Oslo Madrid Vienna Boston Chicago Toronto Dublin Prague Warsaw Lisbon Milan Geneva "
    "Tokyo Seoul Denver Seattle Munich Stockholm Iceland Norway Portugal Chile",
    "field": "Ocean Climate Energy Metal Forest River Solar Marine Polar Crystal Brain Plant Mountain Desert",
    "head": "Institute Laboratory Centre Observatory Group",
    "kind": "radio laser infrared electron neutron digital optical mobile magnetic thermal deep small",
    "device": "telescope camera microscope sensor detector scanner antenna clock radar probe",
    RESEARCHER: _SHARED_BY_PEOPLE_AND_PLACES,
    PLACE: _SHARED_BY_PEOPLE_AND_PLACES,
    LABORATORY: _SHARED_BY_LABORATORIES_AND_INSTRUMENTS,
    INSTRUMENT: _SHARED_BY_LABORATORIES_AND_INSTRUMENTS,
}
"""Parts of names, and under each entity type the names that it shares with another type."""

_OPENERS = (
    *[""] * 4, "yesterday", "last year", "in spring", "after the storm", "for the first time", "this week",
)  # fmt: skip
_TAILS = (
    *[""] * 8, "despite the cost", "after a long debate", "without a budget", "for the museum",
    "in the winter", "for a second paper", "with the old camera", "before the meeting",
)  # fmt: skip

_SLOT = re.compile(r"\{(\w)\}")
_TYPE_OF_SLOT = {"r": RESEARCHER, "l": LABORATORY, "i": INSTRUMENT, "p": PLACE}


@dataclass(frozen=True, slots=True)
class _Clause:
    """Words with slots `{r}`, `{l}`, `{i}`, `{p}`; `relations` name slots by their order in the text."""

    text: str
    relations: tuple[tuple[int, int, str], ...] = ()


_CLAUSES = (
    _Clause("{r} works at {l}", ((0, 1, WORKS_AT),)),
    _Clause("{r} of {l} visited {p}", ((0, 1, WORKS_AT),)),
    _Clause("{r} left {l} for {l}", ((0, 2, WORKS_AT),)),
    _Clause("{r} , who leads {l} , met {r}", ((0, 1, WORKS_AT),)),
    _Clause("{l} hired {r} from {p}", ((1, 0, WORKS_AT),)),
    _Clause("{l} of {p} sold the {i}", ((0, 1, LOCATED_AT),)),
    _Clause("{l} moved from {p} to {p}", ((0, 2, LOCATED_AT),)),
    _Clause("{r} found the {i} in {p}", ((1, 2, LOCATED_AT),)),
    _Clause("{l} in {p} built the {i}", ((0, 1, LOCATED_AT), (2, 0, BUILT_BY))),
    _Clause("the {i} of {l} failed in {p}", ((0, 1, BUILT_BY), (0, 2, LOCATED_AT))),
    _Clause("the {i} was built by {r} of {l}", ((0, 1, BUILT_BY), (1, 2, WORKS_AT))),
    _Clause("{r} built the {i} with {r}", ((1, 0, BUILT_BY), (1, 2, BUILT_BY), (0, 2, PARTNER_OF))),
    _Clause("{r} and {r} wrote about the {i}", ((0, 1, PARTNER_OF),)),
    _Clause("{l} works with {l} on the {i}", ((0, 1, PARTNER_OF),)),
    _Clause(
        "{l} and {l} opened a school in {p}", ((0, 1, PARTNER_OF), (0, 2, LOCATED_AT), (1, 2, LOCATED_AT))
    ),
    _Clause("{r} bought the {i} from {l}", ((1, 2, BUILT_BY),)),
    _Clause("{r} spoke with {r} in {p}"),
    _Clause("{r} lost the {i} near {p}"),
    _Clause("{l} and {l} lost a {i}"),
    _Clause("the {i} and the {i} were shown in {p}", ((0, 2, LOCATED_AT), (1, 2, LOCATED_AT))),
    _Clause("the committee of the city praised {r}"),
    _Clause("a camera and a telescope arrived in {p}"),
)


def generate_splits(seed: int = SEED) -> dict[str, tuple[Document, ...]]:
    """Generate train, dev and test.

    Args:
        seed: of everything that is drawn; equal seeds give equal corpora.

    Returns:
        Documents of two to four sentences, `NUM_SENTENCES` a split.
    """
    rng = random.Random(seed)
    seen, everything = _pools(rng)
    return {
        split: _documents(
            rng, split, [_sentence(rng, seen if split == "train" else everything) for _ in range(total)]
        )
        for split, total in NUM_SENTENCES.items()
    }


_Pools = Mapping[str, Sequence[str]]
_Item = TypeVar("_Item")


def _pick(rng: random.Random, items: Sequence[_Item]) -> _Item:
    return items[int(rng.random() * len(items))]


def _pools(rng: random.Random) -> tuple[_Pools, _Pools]:
    """The parts of names that train draws from, and those that dev and test draw from."""
    everything = {name: words.split() for name, words in _NAMES.items()}
    seen = {}
    for name, words in everything.items():
        order = sorted(words, key=lambda _: rng.random())
        seen[name] = order[: len(words) - int(UNSEEN_SHARE * len(words))]
    return seen, everything


def _name(rng: random.Random, entity_type: str, pools: _Pools) -> list[str]:
    """The one to three words of a name."""
    if rng.random() < AMBIGUITY:
        return [_pick(rng, pools[entity_type])]
    parts = {
        RESEARCHER: (("first", 0.5), ("surname", 1.0)),
        LABORATORY: (("city", 0.3), ("field", 1.0), ("head", 1.0)),
        INSTRUMENT: (("kind", 1.0), ("device", 1.0)),
        PLACE: (("city", 1.0),),
    }[entity_type]
    return [_pick(rng, pools[part]) for part, probability in parts if rng.random() < probability]


def _sentence(rng: random.Random, pools: _Pools) -> Sentence:
    """Draw until the length fits and no name stands twice."""
    shortest, longest = SENTENCE_WORDS
    while True:
        clause = _pick(rng, _CLAUSES)
        words = _pick(rng, _OPENERS).split()
        entities = []
        for word in clause.text.split():
            slot = _SLOT.fullmatch(word)
            if slot:
                entity_type = _TYPE_OF_SLOT[slot[1]]
                name = _name(rng, entity_type, pools)
                entities.append(Entity(Span(len(words), len(words) + len(name)), entity_type))
                words += name
            else:
                words.append(word)
        words += [*_pick(rng, _TAILS).split(), "."]
        names = {tuple(words[entity.span.start : entity.span.end]) for entity in entities}
        if shortest <= len(words) <= longest and len(names) == len(entities):
            return _annotate(rng, words, entities, clause)


def _annotate(rng: random.Random, words: list[str], entities: list[Entity], clause: _Clause) -> Sentence:
    """The sentence with the clause's relations and with noise in its labels."""
    noisy = [Entity(entity.span, _noisy(rng, entity.type, ENTITY_TYPES)) for entity in entities]
    relations = [
        Relation(noisy[subject], noisy[object_], _noisy(rng, label, RELATION_TYPES))
        for subject, object_, label in clause.relations
    ]
    return Sentence(tuple(words), tuple(noisy), tuple(relations))


def _noisy(rng: random.Random, label: str, labels: Sequence[str]) -> str:
    if rng.random() >= LABEL_NOISE:
        return label
    return _pick(rng, [other for other in labels if other != label])


def _documents(rng: random.Random, split: str, sentences: Sequence[Sentence]) -> tuple[Document, ...]:
    """Cut into documents of two to four sentences; the last takes what is left."""
    documents: list[Document] = []
    first = 0
    while first < len(sentences):
        left = len(sentences) - first
        size = left if left <= 4 else _pick(rng, (2, 3) if left == 5 else (2, 3, 4))
        documents.append(Document(f"{split}-{len(documents)}", tuple(sentences[first : first + size])))
        first += size
    return tuple(documents)
