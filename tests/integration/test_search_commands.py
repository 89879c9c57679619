"""What the `lai` commands say of a search."""

import io
import json
import re
import sqlite3
from collections.abc import Iterator
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from typer.testing import CliRunner

import analysis.__main__
from analysis.report import compose_report
from lai_net.errors import InputError
from tests.integration.searching import GRID, HEAD, RE, events, lai
from tests.integration.standing_in import drill, run
from tune.engine import Message

pytestmark = pytest.mark.usefixtures("fast_search")


def test_importance_and_export(search_study, finished_search, tmp_path):
    shares = json.loads(lai("importance", search_study, "--ledger", finished_search, "--json").stdout)
    assert set(shares) == {"training.head_lr", "graph.layers", "graph.heads"}
    assert sum(shares.values()) == pytest.approx(1)
    journal = tmp_path / "journal.log"
    lai("export", search_study, journal, "--to", "optuna-journal", "--ledger", finished_search)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    read = optuna.load_study(study_name="drill", storage=storage)
    suggested = [event for event in events(search_study, finished_search) if event.kind == "suggest"]
    assert [trial.params for trial in read.trials] == [event.given["params"] for event in suggested]
    complete = [trial for trial in read.trials if trial.state.name == "COMPLETE"]
    assert len(complete) == 12
    assert read.best_value == max(trial.value for trial in complete)
    assert all(len(trial.intermediate_values) == 5 for trial in complete)
    with pytest.raises(InputError, match="is there already"):
        lai("export", search_study, journal, "--to", "optuna-journal", "--ledger", finished_search)


def test_optuna_dashboard_opens_an_export(search_study, finished_search, tmp_path):
    import optuna_dashboard

    journal = tmp_path / "journal.log"
    lai("export", search_study, journal, "--to", "optuna-journal", "--ledger", finished_search)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    dashboard = optuna_dashboard.wsgi(storage)

    def get(path: str) -> dict:
        asked: dict[str, object] = {"wsgi.input": io.BytesIO(), "PATH_INFO": path}
        setup_testing_defaults(asked)
        return json.loads(b"".join(dashboard(asked, lambda *_: None)))

    (study,) = get("/api/studies")["study_summaries"]
    assert (study["study_name"], study["directions"]) == ("drill", ["maximize"])
    shown = get(f"/api/studies/{study['study_id']}")
    assert [trial["state"] for trial in shown["trials"]].count("Complete") == 12
    assert {item["name"] for item in shown["union_search_space"]} == {
        "training.head_lr", "graph.layers", "graph.heads",
    }  # fmt: skip


def test_importance_of_too_few_is_refused(tmp_path):
    grid, ledger = tmp_path / "grid.toml", tmp_path / "ledger.sqlite"
    grid.write_text(HEAD + GRID)
    run(grid, ledger)
    with pytest.raises(InputError, match="importance needs 10"):
        lai("importance", grid, "--ledger", ledger)


def test_status_and_results_of_a_search(search_study, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    assert "0 suggestions" in lai("status", search_study, "--ledger", ledger).stdout
    run(search_study, ledger)
    text = lai("status", search_study, "--ledger", ledger).stdout
    assert "confirmed: dev F1" in text
    rows = json.loads(lai("results", search_study, "--ledger", ledger, "--format", "json").stdout)
    assert {row["status"] for row in rows} == {"completed", "pruned"}
    assert all(row["f1"] is None for row in rows if row["status"] == "pruned")
    assert {row["seed"] for row in rows} == {1, 2, 3, 4, 5}
    table, other = tmp_path / "table.csv", tmp_path / "other.sqlite"
    lai("results", search_study, "--ledger", ledger, "--out", table)
    assert f"{len(rows)} new rows from" in lai("import", table, "--ledger", other).stderr


def test_plan_says_what_bounds_a_search_and_makes_up_nothing(search_study, tmp_path):
    content = json.loads(lai("plan", search_study, "--ledger", tmp_path / "none", "--json").stdout)
    assert content["search"]["space_size"] is None
    assert content["search"]["budget"]["trials"] == 24
    assert content["search"]["rungs"] == [[2, 4]]
    assert content["search"]["confirmation_trials"] == 6
    assert content["search"]["most_trainings"] == 24 + 6
    assert content["estimate"]["wall_s"] is None
    assert content["warnings"] == ["no estimate: the ledger has no finished trial like those of demo NER"]
    assert (content["cells"], content["trials"]) == (0, 0)
    single = search_study.read_text().replace("seeds_per_config = 2", "seeds_per_config = 1")
    search_study.write_text(single)
    said = lai("plan", search_study, "--ledger", tmp_path / "none").stderr
    assert "no config will be stopped early" in said
    assert "upstream" not in lai("plan", search_study, "--ledger", tmp_path / "none").stdout, "it is NER"


def test_re_search_is_warned_where_the_ledger_knows_the_noise_on_gold_entities_alone(tmp_path, capsys):
    """And `lai run` says so, too, before and after its log has begun."""
    table, study, ledger = tmp_path / "table.toml", tmp_path / "re.toml", tmp_path / "ledger.sqlite"
    table.write_text(RE.partition("[search]")[0])
    single = RE.replace("noise_margin = 0.0", "noise_margin = 1.0").replace("seeds_per_config = 2\n", "")
    study.write_text(single)
    run(table, ledger)
    expected = "no config will be stopped early"
    assert expected in lai("plan", study, "--ledger", ledger).stderr
    study.write_text(single.replace('phase = "RE"', 'phase = "RE"\nentities = "gold"'))
    assert expected not in lai("plan", study, "--ledger", ledger).stderr
    study.write_text(single)
    for _ in range(2):
        capsys.readouterr()
        run(study, ledger)
        assert f"warning: {expected}" in capsys.readouterr().err


def test_plan_bounds_what_is_left_of_a_search_by_like_trials(tmp_path):
    table, grid, ledger = tmp_path / "table.toml", tmp_path / "grid.toml", tmp_path / "ledger.sqlite"
    table.write_text(HEAD)
    grid.write_text(HEAD + GRID)
    run(table, ledger)
    with sqlite3.connect(ledger) as connection:
        connection.execute("UPDATE attempt SET cpu_s = 30, wall_s = 40")
    content = json.loads(lai("plan", grid, "--ledger", ledger, "--json").stdout)
    assert content["search"]["most_trainings"] == 3 * 2 + 2, "all configs with all seeds, and confirmations"
    assert content["estimate"]["wall_s"] == 8 * 40
    assert "at most 0.1 h one after another" in lai("plan", grid, "--ledger", ledger).stdout
    run(grid, ledger)
    content = json.loads(lai("plan", grid, "--ledger", ledger, "--json").stdout)
    assert content["search"]["most_trainings"] == 0
    assert content["estimate"]["wall_s"] == 0


def test_plan_of_a_search_counts_the_models_that_stay(tmp_path):
    table, study, ledger = tmp_path / "table.toml", tmp_path / "re.toml", tmp_path / "ledger.sqlite"
    table.write_text(RE.partition("[search]")[0].replace("seeds = [1, 2]", "seeds = [2]"))
    run(table, ledger)

    def models(text: str, level: str) -> float:
        study.write_text(f'{text}[budget]\nkeep_models = "{level}"\n')
        return json.loads(lai("plan", study, "--ledger", ledger, "--json").stdout)["estimate"]["disk_gib"]

    one = models(HEAD + GRID, "all") / 8
    assert models(HEAD + GRID, "needed") == pytest.approx(4 * one), "confirmations, the best by two scores"
    assert models(HEAD + GRID, "none") == 0
    assert models(RE, "none") == pytest.approx(one), "the NER trial that RE takes entities from"


def test_status_calls_what_nobody_runs_interrupted(tmp_path):
    grid, ledger = tmp_path / "grid.toml", tmp_path / "ledger.sqlite"
    grid.write_text(HEAD + GRID)

    def crash(_: str) -> Iterator[Message]:
        yield Message("started", {"device": None, "commit": None})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(grid, ledger, executor=crash)
    assert "trials: 1 interrupted" in lai("status", grid, "--ledger", ledger).stdout
    run(grid, ledger)
    assert "completed" in lai("status", grid, "--ledger", ledger).stdout.splitlines()[0]


def test_verify_trains_completed_trials_of_a_search_again(tmp_path, monkeypatch):
    study, ledger = tmp_path / "re.toml", tmp_path / "ledger.sqlite"
    study.write_text(RE)
    run(study, ledger)
    monkeypatch.setattr("tune.trainable.execute", drill.execute)
    result = lai("verify", study, "--ledger", ledger, "--trials", "4")
    assert result.stdout.count("identical") == 4, result.stdout
    assert "demo RE" in result.stdout
    with sqlite3.connect(ledger) as connection:
        connection.execute("UPDATE epoch SET report = json_set(report, '$.dev.f1', 2.0)")
    assert lai("verify", study, "--ledger", ledger).exit_code == 1


def test_report_of_a_search_has_its_history_confirmations_and_importance(
    search_study, finished_search, tmp_path
):
    words = ["report", search_study, "--ledger", finished_search, "--out", tmp_path / "report"]
    CliRunner().invoke(analysis.__main__.app, [str(word) for word in words], catch_exceptions=False)
    drawn = {path.stem for path in (tmp_path / "report").rglob("figure_*.svg")}
    assert drawn == {"figure_search", "figure_importance"}
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("confirmed: dev F1") == 2
    manifest = json.loads((tmp_path / "report" / "manifest.json").read_text())
    assert len(manifest["trials"]) == sum(manifest["commits"].values()) > 0
    assert re.search(r">Learning rate, everything else</th>\s*<td>searched</td>", page)
    assert re.search(r">Epochs</th>\s*<td>\d+</td>", page)
    assert "Settings of the base; searched: each config has its own." in page
    for option in ("--interval", "--speed"):
        with pytest.raises(InputError, match=rf"{option}: .*\.toml is a search, which has no tables"):
            compose_report(
                str(search_study), finished_search,
                **{option[2:]: "t" if option == "--interval" else tmp_path / "speed.csv"},
            )  # fmt: skip


def test_the_live_page_is_another_once_a_confirmation_is_logged(search_study, finished_search) -> None:
    """Its epochs are in the ledger before: by them alone a browser would keep the page without it."""
    before = compose_report(str(search_study), finished_search).version
    with sqlite3.connect(finished_search) as file:
        last = "(SELECT max(number) FROM search_event WHERE kind = 'confirm')"
        assert file.execute(f"DELETE FROM search_event WHERE number >= {last}").rowcount
    assert compose_report(str(search_study), finished_search).version != before
