"""Why a trial is reused or not: its identity, field by field, beside what it is compared with."""

from collections.abc import Mapping
from typing import Any

from lai_net.active_settings import active_settings
from lai_net.errors import InputError
from lai_net.settings import flat
from tune.ledger.ledger import Ledger
from tune.ledger.rows import TrialRow
from tune.planning.imported import imported_ids
from tune.planning.plan import Plan
from tune.spec.identity import spec_id

Fields = dict[str, Any]


def find_trial(ledger: Ledger, name: str) -> TrialRow:
    """The trial whose id is, or alone begins with, `name`.

    Raises:
        InputError: there is none, or more than one, or it is imported and no study here has planned it yet.
    """
    own, imported = {row.trial_id: row for row in ledger.trials()}, imported_ids(ledger).trials
    known = own.keys() | imported
    found = [name] if name in known else [known_id for known_id in known if known_id.startswith(name)]
    if len(found) != 1:
        raise InputError(f"{len(found)} trials of the ledger have an id that begins with {name!r}; name one")
    if found[0] not in own:
        raise InputError(
            f"trial {found[0]} is imported: there are its results, but neither settings nor model; `lai run` "
            "of the study that plans it finds its settings"
        )
    return own[found[0]]


def state_of(ledger: Ledger, row: TrialRow) -> str:
    """What a trial's newest attempt says; `imported` where it has none but imported results."""
    state = ledger.status(row.trial_id)
    return "imported" if state == "planned" and row.trial_id in imported_ids(ledger).trials else state


def identity_fields(row: TrialRow) -> Fields:
    """All that `trial_id` depends on, and the dataset's name, by dotted name.

    But the labels: the ledger has them in `config_id` alone.
    """
    return {
        "dataset": row.dataset,
        "fold": row.fold,
        "seed": row.seed,
        **flat(row.config),
        "corpus_id": row.corpus_id,
        "encoder_id": row.encoder_id,
    }


def nearest_in_ledger(ledger: Ledger, row: TrialRow) -> tuple[TrialRow, dict[str, tuple[Any, Any]]] | None:
    """The other trial with the fewest differing fields, and these; None where there is no other."""
    others = [(other, _between(row, other)) for other in ledger.trials() if other.trial_id != row.trial_id]
    return min(others, key=lambda pair: len(pair[1]), default=None)


def _between(own: TrialRow, other: TrialRow) -> dict[str, tuple[Any, Any]]:
    """The fields in which two trials differ; the labels, where nothing else makes their configs two."""
    fields = differences(identity_fields(own), identity_fields(other))
    is_equal = own.spec_id == other.spec_id and fields.keys() <= {"dataset", "fold", "seed"}
    if is_equal and own.config_id != other.config_id:
        fields["labels (in config_id)"] = (own.config_id, other.config_id)
    return fields


def nearest_in_plan(plan: Plan, row: TrialRow) -> dict[str, tuple[Any, Any]] | None:
    """How the trial differs from the planned trial that is nearest; empty where the study plans it.

    None where it plans nothing. A plan knows neither content nor labels.
    """
    own = {name: value for name, value in identity_fields(row).items() if not name.endswith("_id")}
    planned = (
        {"dataset": trial.dataset, "fold": trial.fold, "seed": trial.seed}
        | flat(active_settings(trial.config))
        for trial in plan.trials
    )
    return min((differences(own, fields) for fields in planned), key=len, default=None)


def cells_of(plan: Plan, row: TrialRow) -> list[str]:
    """The cells of a study that the trial fills, in words."""
    return [
        f"table {cell.table}: {cell.dataset} {cell.phase}, {cell.factor} {cell.level}"
        for cell in plan.cells
        if cell.dataset == row.dataset and cell.config is not None and spec_id(cell.config) == row.spec_id
    ]


def differences(own: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Fields that differ, as (own, other); a field that one side lacks is `-` there."""
    names = [*own, *(name for name in other if name not in own)]
    pairs = {name: (own.get(name, "-"), other.get(name, "-")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
