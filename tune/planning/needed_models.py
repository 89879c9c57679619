"""Which models `lai run` would refuse for being gone, told before it is called."""

from collections.abc import Iterable
from pathlib import Path

from tune.artefacts.port import FOLDER
from tune.artefacts.storage import storage_of
from tune.ledger.ledger import Ledger
from tune.planning.imported import imported_ids
from tune.planning.plan import Plan, PlannedTrial
from tune.planning.trained_model import lost_models, told_once
from tune.spec.identity import evaluation_id


def warnings_of_lost(plan: Plan, ledger: Ledger, folder: Path) -> list[str]:
    """A line where an evaluation that the ledger lacks needs a model that is gone.

    As in `Execution.check`, but joined with the ledger's trials by names alone.
    """
    ids = ledger.ids_by_key()
    made = {row.evaluation_id for row in ledger.each_evaluation() if row.error is None}
    made |= imported_ids(ledger, plan.study).evaluations
    needed: dict[str, None] = {}
    for item in plan.evaluations:
        trial = ids.get(item.trial)
        upstream = None if item.upstream is None else ids.get(item.upstream)
        is_known = trial is not None and (item.upstream is None or upstream is not None)
        if is_known and evaluation_id(str(trial), upstream, item.split, item.entities) in made:
            continue
        needed |= dict.fromkeys(name for name in (trial, upstream) if name is not None)
    return _warnings(needed, ledger, folder)


def warnings_of_upstream(upstream: PlannedTrial | None, ledger: Ledger, folder: Path) -> list[str]:
    """Likewise of the trial whose entities a search over RE goes by."""
    known = [] if upstream is None else [row.trial_id for row in ledger.trials() if row.key == upstream.key]
    return _warnings(known, ledger, folder)


def _warnings(trial_ids: Iterable[str], ledger: Ledger, folder: Path) -> list[str]:
    """What is said of those that are completed; others are trained first. An object store is not asked."""
    newest, is_store = ledger.newest_attempts(), (folder / FOLDER).is_file()
    completed = [newest[name] for name in trial_ids if name in newest and newest[name].status == "completed"]
    lost = lost_models(completed, None if is_store else storage_of(folder))
    return [f"`lai run` will refuse: {told_once(lost)}"] if lost else []
