"""The driver is killed at every fault point, and called again."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.drills.invariants import content, differences, finished, left_behind, violations
from tests.integration.searching import GRID, HEAD, events, folder
from tests.integration.standing_in import STUDY, in_fork, run, written
from tune.commands.standing import best_trials
from tune.fault_points import POINTS
from tune.ledger.file import MIGRATIONS, SCHEMA_VERSION, version_of
from tune.ledger.ledger import Ledger
from tune.planning.plan import make_plan
from tune.results.importing import import_csv
from tune.results.table import long_table, to_csv
from tune.spec.study import load_study

ASSETS = Path(__file__).parents[1] / "assets"
SEARCH = HEAD + GRID
MEASURED = STUDY + '[resources]\ngpus_per_trial = "measured"\ngpus = 1\n'
KEEPING = STUDY + '[budget]\nkeep_models = "LEVEL"\n'


def points(name: str) -> list[str]:
    return [point for point in POINTS if point.startswith(name)]


OF_A_SEARCH, OF_AN_IMPORT, OF_A_MIGRATION = points("search."), points("results."), points("ledger.migrate.")
OF_A_PROBE, OF_FORGETTING, OF_A_STORE = points("probe."), points("model."), points("files.publish")
OF_TABLES = sorted(
    {*POINTS} - {*OF_A_SEARCH, *OF_AN_IMPORT, *OF_A_MIGRATION, *OF_A_PROBE, *OF_FORGETTING, *OF_A_STORE}
)
"""Whatever has no place of its own, so a new point is killed at, or the test below fails."""
AT_THE_START = [*points("ledger.create."), *points("trials.register.")]
"""Passed once, when nothing runs yet."""
VISITS = [
    (point, count) for point in OF_TABLES for count in (1, 4) if count == 1 or point not in AT_THE_START
]

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")


@pytest.mark.parametrize(("point", "count"), VISITS)
def test_killed_at_a_point_a_study_resumes_to_the_same(study, undisturbed, tmp_path, point, count):
    ledger = tmp_path / "ledger.sqlite"
    assert in_fork(lambda: run(study, ledger), f"{point}:{count}:kill") == -signal.SIGKILL
    before = finished(ledger)
    assert run(study, ledger) == 0
    assert violations(ledger, before) == []
    assert differences(study, ledger, undisturbed) == []


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("point", OF_A_SEARCH)
def test_killed_at_a_point_a_search_decides_the_same(tmp_path, point, count):
    study = written(tmp_path, SEARCH)
    unbroken, killed = folder(tmp_path, "unbroken"), folder(tmp_path, "killed")
    assert in_fork(lambda: run(study, killed), f"{point}:{count}:kill") == -signal.SIGKILL
    assert run(study, killed) == run(study, unbroken) == 0
    assert events(study, killed) == events(study, unbroken) != []


@pytest.mark.parametrize("point", OF_A_PROBE)
def test_killed_at_a_probe_a_study_resumes_to_the_same(undisturbed, tmp_path, point):
    study, ledger = written(tmp_path, MEASURED), tmp_path / "ledger.sqlite"
    assert in_fork(lambda: run(study, ledger), f"{point}:1:kill") == -signal.SIGKILL
    assert run(study, ledger) == 0
    assert differences(study, ledger, undisturbed) == []
    with Ledger.open(ledger, read_only=True) as opened:
        assert len(opened.probes()) == 6, "each shape once"


@pytest.mark.parametrize("point", OF_AN_IMPORT)
def test_killed_at_an_import_all_rows_are_there_or_none(undisturbed, study, tmp_path, point):
    table, ledger = tmp_path / "results.csv", tmp_path / "ledger.sqlite"
    with Ledger.open(undisturbed, read_only=True) as opened:
        rows = long_table(opened, load_study(study))
    table.write_bytes(to_csv(rows))
    num_rows = len(rows)

    def take_in() -> int:
        with Ledger.open(ledger) as opened:
            return import_csv(table, opened).new

    assert in_fork(take_in, f"{point}:kill") == -signal.SIGKILL
    with Ledger.open(ledger, read_only=True) as opened:
        assert len(opened.imported()) == (num_rows if point.endswith("after_commit") else 0)
    assert take_in() == (0 if point.endswith("after_commit") else num_rows)


@pytest.mark.parametrize("version", sorted(MIGRATIONS))
@pytest.mark.parametrize("point", OF_A_MIGRATION)
def test_killed_at_a_migration_a_ledger_is_of_one_version_or_the_other(tmp_path, point, version):
    ledger = tmp_path / "ledger.sqlite"
    shutil.copy(ASSETS / f"ledger-v{version}.sqlite", ledger)
    with Ledger.open(ledger, read_only=True) as opened:
        before = opened.trials(), opened.all_attempts(), opened.evaluations()

    def migrate() -> int:
        Ledger.open(ledger).close()
        return 0

    def found() -> int:
        with Ledger.open(ledger, read_only=True) as opened:
            assert (opened.trials(), opened.all_attempts(), opened.evaluations()) == before
            return version_of(opened._connection)

    assert in_fork(migrate, f"{point}:kill") == -signal.SIGKILL
    assert found() == (SCHEMA_VERSION if point.endswith("after_commit") else version)
    assert migrate() == 0
    assert found() == SCHEMA_VERSION


@pytest.mark.parametrize("level", ["needed", "none"])
@pytest.mark.parametrize(("point", "count"), [(point, count) for point in OF_FORGETTING for count in (1, 2)])
def test_killed_at_the_deletion_of_a_model_a_study_resumes_to_the_same(
    undisturbed, tmp_path, level, point, count
):
    study, ledger = written(tmp_path, KEEPING.replace("LEVEL", level)), tmp_path / "ledger.sqlite"
    assert in_fork(lambda: run(study, ledger), f"{point}:{count}:kill") == -signal.SIGKILL
    before = finished(ledger)
    assert run(study, ledger) == 0
    assert violations(ledger, before) == []
    assert left_behind(ledger) == []
    found, expected = content(ledger), content(undisturbed)
    kept = {name for name, model in found.pop("models").items() if model != "not kept"}
    del expected["models"]
    assert found == expected
    with Ledger.open(ledger, read_only=True) as opened:
        needed = {row.trial_id for row in best_trials(make_plan(load_study(study)), opened)}
        needed |= {row.upstream_trial_id for row in opened.evaluations()} - {None}
    assert kept == (needed if level == "needed" else set())
