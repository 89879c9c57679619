"""A search's decision log: facts in arrival order, each with what was decided on it, in the ledger.

The log is the search's whole memory. To go on after a kill is to replay it; to audit it is to replay it with
the sampler asked again and the scores compared with the ledger's.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lai_net.errors import InputError
from tune.ledger.ledger import Ledger
from tune.ledger.rows import SearchEvent
from tune.search.candidate import Facts, Suggestion, Told
from tune.search.state import Search

Suggest = Callable[[Sequence[Told]], Suggestion]
"""The next config's settings from the history of all before."""


@dataclass
class DecisionLog:
    """Feeds a search and keeps what it decides. Make one with `DecisionLog.resume`."""

    ledger: Ledger
    search_id: str
    search: Search
    size: int = 0

    @classmethod
    def resume(cls, ledger: Ledger, search_id: str, search: Search) -> "DecisionLog":
        """Bring a fresh search to where its log ends.

        Raises:
            InputError: the log does not replay.
        """
        events = ledger.search_events(search_id)
        for difference in replay(events, search):
            raise InputError(
                f"the search's log in the ledger does not replay: {difference}; it was changed, or lai-tune "
                "decides otherwise now; name a ledger in another folder, or another search.seed"
            )
        return cls(ledger, search_id, search, len(events))

    def decide(self, kind: str, **given: Any) -> Facts:
        """Tell the search facts by its verb `kind`, and append what it decides."""
        given = _plain(given)
        decided: Facts = _plain(apply(self.search, kind, given))
        self.ledger.record_search_event(SearchEvent(self.search_id, self.size, kind, given, decided))
        self.size += 1
        return decided


def apply(search: Search, kind: str, given: Facts) -> Facts:
    """Tell a search facts by one of its verbs."""
    if kind not in ("begin", "suggest", "epoch", "done", "failed", "choose", "confirm"):
        raise ValueError(f"a search has no verb {kind!r}")
    decided: Facts = getattr(search, kind)(**given)
    return decided


def replay(events: Sequence[SearchEvent], search: Search, suggest: Suggest | None = None) -> Iterator[str]:
    """Feed a fresh search with a log; yields, for every decision that comes out otherwise, one line.

    Args:
        events: in order.
        search: fresh; afterwards where the log ends.
        suggest: asked again for every suggestion, where given.
    """
    for number, event in enumerate(events):
        place = f"event {event.number} ({event.kind})"
        if event.number != number:
            yield f"event {number} is missing"
            return
        if suggest is not None and event.kind == "suggest":
            again = suggest([candidate.told() for candidate in search.candidates])
            yield from _differences(f"{place}: params", event.given.get("params"), dict(again.params))
            yield from _differences(f"{place}: origin", event.given.get("origin"), again.origin)
        try:
            decided = _plain(apply(search, event.kind, event.given))
        except (TypeError, ValueError, KeyError, IndexError) as error:
            yield f"{place}: cannot be applied ({type(error).__name__}: {error})"
            return
        yield from _differences(place, event.decided, decided)


def strange_scores(events: Sequence[SearchEvent], search: Search, ledger: Ledger) -> Iterator[str]:
    """Epoch scores of a replayed log that the ledger's reports do not have, one line each."""
    reports = {
        trial_id: {report["epoch"]: report["dev"]["f1"] for report in ledger.epochs(trial_id)}
        for candidate in search.candidates
        for trial_id in candidate.trials.values()
    }
    for event in events:
        if event.kind == "epoch":
            given = event.given
            trial_id = search.candidates[given["number"]].trials[given["seed"]]
            stored = reports[trial_id].get(given["epoch"])
            yield from _differences(f"event {event.number} (epoch): score", given["score"], stored)


def _differences(place: str, was: Any, now: Any) -> Iterator[str]:
    if was != now:
        yield f"{place}: was {json.dumps(was)}, is {json.dumps(now)}"


def _plain(value: Any) -> Any:
    """As it comes back from JSON, so that live and replayed facts are the same."""
    return json.loads(json.dumps(value, sort_keys=True, allow_nan=False))
