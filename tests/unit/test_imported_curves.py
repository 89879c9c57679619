"""Learning curves that come with an imported table."""

from collections.abc import Callable
from pathlib import Path

import pytest

import analysis
from lai_net.errors import InputError
from tests.reporting import write_report
from tests.unit.growing import Place
from tune.ledger.ledger import Ledger
from tune.preparation import prepare
from tune.results.curves import CURVE_COLUMNS, read_curves
from tune.results.importing import import_csv


def test_report_import_report_gives_the_same_tables_and_curves(made: Place, tmp_path: Path) -> None:
    study = made.study()
    write_report(str(study.file), made.first, tmp_path / "a")
    with Ledger.open(tmp_path / "again.sqlite") as ledger:
        import_csv(tmp_path / "a" / "long.csv", ledger, tmp_path / "a" / "curves.csv")
    write_report(str(study.file), tmp_path / "again.sqlite", tmp_path / "b")
    first, second = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in "ab")
    differing = {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}
    assert differing == {"long.csv", "index.html", "manifest.json"}, "which say that it is imported"
    assert second["long.csv"] == first["long.csv"].replace(b",run\n", b",imported\n")
    assert first["curves.csv"].count(b"\n") == 1 + 12 * 3
    page = second["index.html"].decode()
    assert "No learning curve" not in page
    assert page.count('<svg class="curves"') == first["index.html"].decode().count('<svg class="curves"')


def test_a_notebook_gets_every_epoch(made: Place) -> None:
    frame = analysis.curves(made.ledger)
    assert tuple(frame.columns) == CURVE_COLUMNS
    with Ledger.open(made.ledger, read_only=True) as ledger:
        curves = read_curves(ledger)
    scores = {name: list(part["f1"]) for name, part in frame.groupby("trial_id")}
    assert scores == {name: [epoch.f1 for epoch in curve] for name, curve in curves.items()}


Write = Callable[..., Path]


@pytest.fixture
def write(place: Place) -> Write:
    """A file of curves with one row of a trial that is in the long table, changed."""
    header, line = place.curves.read_text().splitlines()[:2]

    def make(**changes: str) -> Path:
        row = dict(zip(header.split(","), line.split(","), strict=True)) | changes
        file = place.folder / "bad.csv"
        file.write_text(f"{header}\n{','.join(row[name] for name in CURVE_COLUMNS)}\n")
        return file

    return make


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epoch": "0"}, "epoch must be a whole number from 1"),
        ({"f1": "61.5"}, "f1 must be a number from 0 to 1, but got '61.5'"),
        ({"f1": ""}, "f1 is empty; every row needs it"),
        ({"loss": "nan"}, "loss must be a number from 0"),
        ({"trial_id": ""}, "trial_id is empty"),
        ({"trial_id": "x"}, "trial x has no row in the long table; import both together"),
        ({"seed": "7"}, "seed is 7, but 0 in the long table"),
        ({"phase": "XX"}, "phase must be one of NER, RE"),
        ({"epoch": "30"}, "epoch is 30, but the long table has 3 epochs"),
        ({"f1": "0.5"}, "is known with other numbers"),
    ],
)
def test_a_bad_row_is_one_line_and_nothing_is_stored(
    place: Place, write: Write, changes: dict[str, str], said: str
) -> None:
    more = place.folder / "more.csv"
    header, *rows = place.long.read_text().splitlines()
    more.write_text("\n".join([header, *(f"n{row}" for row in rows)]).replace(",0,", ",77,") + "\n")
    with Ledger.open(place.ledger) as ledger:
        before = ledger.imported(), read_curves(ledger)
        with pytest.raises(InputError, match=rf"bad\.csv:2: .*{said}"):
            import_csv(more, ledger, write(**changes))
        assert (ledger.imported(), read_curves(ledger)) == before


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("trial_id,epoch,f1,colour", "bad.csv:1: unknown column 'colour'"),
        ("trial_id,epoch", "bad.csv:1: column 'f1' is missing; required: trial_id, epoch, f1"),
    ],
)
def test_a_bad_header_likewise(place: Place, header: str, said: str) -> None:
    file = place.folder / "bad.csv"
    file.write_text(f"{header}\n")
    with Ledger.open(place.ledger) as ledger, pytest.raises(InputError, match=said):
        import_csv(place.long, ledger, file)


@pytest.mark.parametrize("comes_first", ["the run", "the import"])
def test_of_two_curves_that_which_reaches_further_stands_unmixed(
    place: Place, tmp_path: Path, comes_first: str
) -> None:
    first = prepare(place.study(), []).plan.trials[0].row
    with Ledger.open(place.ledger) as ledger:
        before = read_curves(ledger)
        import_csv(place.long, ledger, place.curves)
        assert read_curves(ledger) == before
    path = place.ledger if comes_first == "the import" else tmp_path / "run.sqlite"
    with Ledger.open(path) as ledger:
        ledger.register_trials([first])
        ledger.start_attempt(first.trial_id, 1, {})
        for epoch in (1, 2, 3):
            ledger.record_epoch(first.trial_id, 1, epoch, {"epoch": epoch, "dev": {"f1": epoch / 8}})
            if comes_first == "the run":
                import_csv(place.long, ledger, place.curves)
            curves = read_curves(ledger)
            if epoch < 3:
                assert curves == before, "a run that was interrupted takes nothing away"
    assert [epoch.f1 for epoch in curves.pop(first.trial_id)] == [0.125, 0.25, 0.375]
    assert curves == {name: curve for name, curve in before.items() if name != first.trial_id}


def test_a_ledgers_own_curves_come_back_to_it_without_a_word(made: Place) -> None:
    with Ledger.open(made.first) as ledger:
        before = read_curves(ledger)
        assert import_csv(made.long, ledger, made.curves).new == 0
        assert read_curves(ledger) == before
        assert read_curves(ledger, imported=True) == {}


def test_a_table_without_curves_may_get_them_later(made: Place, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        import_csv(made.long, ledger)
        assert read_curves(ledger) == {}
        assert import_csv(made.long, ledger, made.curves).new == 0
        assert len(read_curves(ledger)) == 12


def test_other_seconds_of_a_second_run_leave_a_curve_as_it_was(place: Place, write: Write) -> None:
    with Ledger.open(place.ledger) as ledger:
        before = read_curves(ledger)
        import_csv(place.long, ledger, write(cpu_s="12345"))
        assert read_curves(ledger) == before
