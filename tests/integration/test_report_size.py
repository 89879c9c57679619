"""The whole report of ten thousand trials: seconds, memory and bytes."""

import contextlib
import csv
import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import pytest

from lai_net.metrics.scoring import SCORES, TASKS_OF_PHASE
from tune.ledger.ledger import Ledger
from tune.preparation import prepare
from tune.results.importing import import_csv
from tune.spec.study import load_study

pytestmark = pytest.mark.slow

MOST_CPU_SECONDS, MOST_MIB, MOST_PAGE_MIB = 40, 600, 10
STUDY = """
name = "large"
seeds = 200
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
[datasets.re]
preset = "demo-re"
[[datasets]]
name = "CoNLL04"
[datasets.ner]
preset = "demo-ner"
[datasets.re]
preset = "demo-re"
[factors]
gcn_layers = [0, 1, 2, 3, 4, 5]
gcn_heads = [1, 2, 3, 4, 6]
entity_filter = ["with", "without"]
method = ["LAI-Net", "w/o 2nd", "w/o 1st"]
mask = ["Inv.", "Vis.", "Full"]
"""


def test_ten_thousand_imported_trials_take_seconds_and_repeat_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    num_trials = _write_rows(tmp_path / "rows.csv")
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        import_csv(tmp_path / "rows.csv", ledger)
    _check_bars(tmp_path, num_trials)


def test_ten_thousand_trials_of_runs_take_no_more(tmp_path: Path) -> None:
    """Each has evaluations on two splits by two protocols and averagings, and twenty epochs."""
    _check_bars(tmp_path, record_runs(tmp_path, num_seeds=400))


def _check_bars(tmp_path: Path, num_trials: int) -> None:
    assert num_trials >= 10_000
    used = [_report(tmp_path, tmp_path / name) for name in ("first", "second")]
    print(f"{num_trials} trials: CPU s and MiB {used}")  # noqa: T201 - the figures that one wants to see
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "second")
    )
    assert first == second
    assert max(seconds for seconds, _ in used) <= MOST_CPU_SECONDS
    assert max(mib for _, mib in used) <= MOST_MIB
    assert len(first["index.html"]) <= MOST_PAGE_MIB * 2**20


_MEASURED = """
import resource, sys
from analysis.__main__ import main
from lai_net.process_memory import kernel_bytes
try:
    main(sys.argv[1:])
finally:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(usage.ru_utime + usage.ru_stime, kernel_bytes("VmHWM") / 2**20)
"""
"""The peak is asked for within: what a parent hears of a child counts the parent's own memory at the fork."""


def _report(folder: Path, out: Path) -> tuple[float, float]:
    """CPU seconds and peak MiB of `lai report` in a process of its own."""
    words = ["report", "study.toml", "--ledger", "ledger.sqlite", "--out", str(out)]
    command = [sys.executable, "-c", _MEASURED, *words]
    told = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, mib = map(float, told.splitlines()[-1].split())
    return seconds, mib


def record_runs(folder: Path, *, num_seeds: int) -> int:
    """A study's file, and its ledger as runs leave it; returns the number of trials."""
    one_dataset = STUDY[: STUDY.rindex("[[datasets]]")] + STUDY[STUDY.index("[factors]") :]
    text = one_dataset.replace("seeds = 200", f"seeds = {num_seeds}")
    (folder / "study.toml").write_text(
        text.replace('"SciERC"', '"SciERC"\ncorpus = "embedded"'), encoding="utf-8"
    )
    jobs = prepare(load_study(str(folder / "study.toml")), []).plan
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        ledger.register_trials(job.row for job in jobs.trials)
    phases = {job.row.trial_id: job.row.phase for job in jobs.trials}
    rng = random.Random(0)
    attempt = {"provenance": json.dumps({"device": "cpu", "commit": "a" * 40}), "status": "completed"}
    evaluations = (
        {"evaluation_id": job.evaluation_id, "trial_id": job.trial_id, "split": job.split,
         "upstream_trial_id": job.upstream_trial_id, "entities": job.entities, "coverage": "{}",
         "scores": json.dumps(list(_scores(phases[job.trial_id], rng)))}
        for job in jobs.evaluations
    )  # fmt: skip
    epochs = (
        {"trial_id": name, "epoch": epoch, "attempt": 1, "report": json.dumps(_epoch(rng))}
        for name, epoch in product(phases, range(1, 21))
    )
    # Not by `finish_attempt`: ten thousand times it waits for the disk.
    with contextlib.closing(sqlite3.connect(folder / "ledger.sqlite")) as connection, connection:
        _insert(connection, "attempt", ({"trial_id": name, "attempt": 1, **attempt} for name in phases))
        _insert(connection, "epoch", epochs)
        _insert(connection, "evaluation", evaluations)
    return len(phases)


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[dict[str, object]]) -> None:
    for row in rows:
        marks = ",".join(f":{name}" for name in row)
        connection.execute(f"INSERT INTO {table} ({','.join(row)}) VALUES ({marks})", row)


def _epoch(rng: random.Random) -> dict[str, object]:
    dev = {name: rng.random() for name in SCORES}
    return {"loss": rng.random(), "dev": dev, "filter_recall": rng.random(), "wall_s": 1.5, "cpu_s": 1.25}


def _scores(phase: str, rng: random.Random) -> Iterator[dict[str, object]]:
    for protocol, averaging, task in product(("pure", "plmarker"), ("micro", "macro"), TASKS_OF_PHASE[phase]):
        values = {name: rng.gauss(0.6, 0.01) for name in SCORES}
        yield {"protocol": protocol, "averaging": averaging, "task": task, **values}


def _write_rows(path: Path) -> int:
    """Scores for every config of the study: one row a trial and task. Returns the number of trials."""
    rng = random.Random(0)
    num_trials = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        columns = "trial_id dataset phase task split seed gcn_layers gcn_heads entity_filter attention_mask"
        columns += " annotations precision recall f1 epochs wall_s device commit"
        writer = csv.writer(file)
        writer.writerow(columns.split())
        for dataset, phase, seed in product(("SciERC", "CoNLL04"), ("NER", "RE"), range(200)):
            for factors in _configs(phase):
                num_trials += 1
                for task in ("NER",) if phase == "NER" else ("RE", "RE+"):
                    f1 = round(rng.gauss(0.6, 0.01), 6)
                    name = f"{num_trials:020x}"
                    trial = [name, dataset, phase, task, "test", seed, *factors]
                    writer.writerow([*trial, f1, f1, f1, 20, 312.5, "cpu", "a" * 40])
    return num_trials


def _configs(phase: str) -> list[tuple[object, ...]]:
    """Layers, heads, filter, mask, annotations of each of the phase's configs, as the demo has them."""
    layers, heads = (1, 4) if phase == "NER" else (2, 4)
    filtered = "true" if phase == "NER" else ""
    configs = [(n, heads if n else "", filtered, "inv", "true") for n in range(6)]
    configs += [(layers, n, filtered, "inv", "true") for n in (1, 2, 3, 6)]
    configs += [(layers, heads, "false", "inv", "true")] * (phase == "NER")
    configs += [(0, "", filtered, "inv", "false")]
    return configs + [(layers, heads, filtered, mask, "true") for mask in ("vis", "full")]
