"""`make bench-driver`: what the driver adds to the trials that it runs, beside bare Ray Tune in the same run.

The trials do nothing or sleep: plan, identity, ledger, schedule and Tune are what is measured, no training.
Every measurement runs in a process of its own and prints its numbers as one line of JSON.
"""

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lai_net.process_memory import kernel_bytes
from tests.benchmarks.page import Bar, processor, slug
from tune.commands.running import Jobs, execute_study
from tune.engine import Executor, Message, Sink, Task
from tune.execution import Execution
from tune.ledger.ledger import Ledger
from tune.planning.jobs import open_jobs
from tune.preparation import Prepared, prepare
from tune.spec.study import load_study

_SLEEP_S, _SLEEPERS, _SLOTS = 5.0, 60, 2
_TALK_EPOCHS = 2000
_STUDY = """
name = "no-op"
seeds = {seeds}

[[datasets]]
name = "Embedded"
corpus = "embedded"
[datasets.ner]
preset = "demo-ner"
"""


def no_op(spec: str) -> Iterator[Message]:
    """What a trial of one epoch says, at once."""
    return _say(0.0)


def sleeper(spec: str) -> Iterator[Message]:
    """The same, after a while."""
    return _say(_SLEEP_S)


def talker(spec: str) -> Iterator[Message]:
    """A trial of many epochs that take no time."""
    return _say(0.0, _TALK_EPOCHS)


def _say(seconds: float, epochs: int = 1) -> Iterator[Message]:
    yield Message("started", {"device": "none", "commit": None})
    time.sleep(seconds)
    for epoch in range(1, epochs + 1):
        yield Message("epoch", {"epoch": epoch, "loss": 0.0, "dev": {"f1": 0.0}, "wall_s": seconds})
    results = [
        {"split": split, "entities": "predicted", "scores": [], "coverage": {}} for split in ("dev", "test")
    ]
    yield Message("completed", {"evaluations": results, "cpu_s": 0.0, "wall_s": seconds})


@dataclass
class _Watched:
    """A sink that notes the driver's resident memory, in kB, each time another `every` trials are done."""

    inner: Sink
    every: int
    num_completed: int = 0
    resident_kb: list[int] = field(default_factory=list)

    def record(self, task: Task, message: Message) -> None:
        self.inner.record(task, message)
        self.num_completed += message.event == "completed"
        if message.event == "completed" and self.num_completed % self.every == 0:
            self.resident_kb.append(kernel_bytes("VmRSS") // 1024)


def through_driver(num_trials: int, executor: Executor = no_op) -> dict[str, float]:
    """Seconds, and this process's CPU seconds, of all that `lai run` does with a prepared study and a Ray.

    Its memory by the way: growth between the first third of the trials, at most 1,000, and the end.
    """
    from tune.cluster.connection import cluster
    from tune.ray_engine import RayEngine

    watched: list[_Watched] = []

    def watch(sink: Sink, _: Jobs) -> contextlib.AbstractContextManager[Sink]:
        watched.append(_Watched(sink, every=max(1, min(1000, num_trials // 3))))
        return contextlib.nullcontext(watched[0])

    engine = RayEngine(executor, max_concurrent=_SLOTS)
    with _no_op_study(num_trials) as (prepared, ledger, folder), cluster():
        begin, cpu_s = time.perf_counter(), time.process_time()
        code = execute_study(prepared, ledger, folder, lambda: contextlib.nullcontext(engine), None, watch)
        wall_s, cpu_s = time.perf_counter() - begin, time.process_time() - cpu_s
    (sink,) = watched
    if code != 0 or sink.num_completed != num_trials:
        raise RuntimeError(f"{sink.num_completed} of {num_trials} trials were completed; exit code {code}")
    grown = sink.resident_kb[-1] - sink.resident_kb[0]
    per_trial = grown / (sink.every * (len(sink.resident_kb) - 1))
    return {"wall_s": wall_s, "per_s": num_trials / wall_s, "cpu_s": cpu_s, "kb_per_trial": per_trial}


def bare_tune(num_trials: int) -> dict[str, float]:
    """The same number of no-op reports by `Tuner.fit` alone, with the driver's settings, nothing recorded."""
    from tune.cluster.connection import cluster
    from tune.ray_engine import ray_tune

    left = iter(range(num_trials))

    class Counting(ray_tune.search.Searcher):  # type: ignore[name-defined, misc]
        def __reduce__(self) -> tuple[type, tuple[()]]:
            return (object, ())

        def set_search_properties(self, *_: object, **__: object) -> bool:
            return True

        def suggest(self, trial_id: str) -> object:
            number = next(left, None)
            return self.FINISHED if number is None else {"number": number}

        def on_trial_complete(self, trial_id: str, result: object = None, error: bool = False) -> None:
            pass

    def trainable(config: dict[str, int]) -> None:
        for message in no_op(""):
            ray_tune.report({"message": message.to_json()})

    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(_SLOTS)
    with cluster(), tempfile.TemporaryDirectory() as folder:
        tuner = ray_tune.Tuner(
            ray_tune.with_resources(trainable, {"cpu": 1}),
            tune_config=ray_tune.TuneConfig(
                search_alg=Counting(),
                num_samples=-1,
                max_concurrent_trials=_SLOTS,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=ray_tune.RunConfig(name="bare", storage_path=folder, verbose=0),
        )
        begin, cpu_s = time.perf_counter(), time.process_time()
        results = tuner.fit()
        wall_s, cpu_s = time.perf_counter() - begin, time.process_time() - cpu_s
        if len(results) != num_trials or results.num_errors:
            raise RuntimeError(f"{len(results)} of {num_trials} trials, {results.num_errors} errors")
    return {"wall_s": wall_s, "per_s": num_trials / wall_s, "cpu_s": cpu_s}


def sleeping_study() -> dict[str, float]:
    """Ideal time of the sleeping trials over the time that they took, Ray being up."""
    wall_s = through_driver(_SLEEPERS, sleeper)["wall_s"]
    return {"wall_s": wall_s, "share": _SLEEPERS * _SLEEP_S / _SLOTS / wall_s}


def reporting() -> dict[str, float]:
    """Epochs recorded a second, of as many trials as there are slots; the start of the workers counts."""
    wall_s = through_driver(_SLOTS, talker)["wall_s"]
    return {"wall_s": wall_s, "per_s": _SLOTS * _TALK_EPOCHS / wall_s}


def starting() -> dict[str, float]:
    """Seconds from `lai run` to its first trial's start in the ledger; that trial trains in truth."""
    with _no_op_study(1) as (prepared, ledger, folder):
        ledger.close()
        path = folder / "ledger.sqlite"
        lai = Path(sys.executable).with_name("lai")
        begin = time.perf_counter()
        with subprocess.Popen(
            [lai, "run", str(prepared.study.file), "--ledger", path], stderr=subprocess.DEVNULL
        ) as run:
            while not _num_attempts(path):
                if run.poll() is not None:
                    raise RuntimeError(f"no trial was started; exit code {run.returncode}")
                time.sleep(0.02)
            wall_s = time.perf_counter() - begin
    return {"wall_s": wall_s}


def planning(num_trials: int) -> dict[str, float]:
    """CPU seconds of `lai plan --json`, the larger of: no ledger, and one that holds all trials."""
    with _no_op_study(num_trials) as (prepared, ledger, folder):
        study = str(prepared.study.file)
        empty = _cpu_s(["plan", study, "--json", "--ledger", str(folder / "none.sqlite")])
        ledger.register_trials([job.row for job in prepared.plan.trials])
        _complete_all(prepared, ledger, folder)
        full = _cpu_s(["plan", study, "--json", "--ledger", str(folder / "ledger.sqlite")])
    return {"cpu_s": max(empty, full)}


def finished_study(num_trials: int) -> dict[str, float]:
    """CPU seconds of `lai run` where there is nothing left to do, and how many trials it started."""
    with _no_op_study(num_trials) as (prepared, ledger, folder):
        ledger.register_trials([job.row for job in prepared.plan.trials])
        _complete_all(prepared, ledger, folder)
        ledger.close()
        path = folder / "ledger.sqlite"
        cpu_s = _cpu_s(["run", str(prepared.study.file), "--ledger", str(path)])
        return {"cpu_s": cpu_s, "started": _num_attempts(path) - num_trials}


def _num_attempts(path: Path) -> int:
    with Ledger.open(path, read_only=True) as ledger:
        return sum(map(len, ledger.all_attempts().values()))


def _complete_all(prepared: Prepared, ledger: Ledger, folder: Path) -> None:
    execution = Execution(ledger, folder, prepared.corpora, 0.0)
    for job in open_jobs(prepared.plan, ledger):
        task = execution.make_task(job)
        for message in no_op(task.spec):
            execution.record(task, message)


@contextlib.contextmanager
def _no_op_study(num_trials: int) -> Iterator[tuple[Prepared, Ledger, Path]]:
    """A study of so many trials with an empty ledger, in a folder for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = folder / "no-op.toml"
        study.write_text(_STUDY.format(seeds=num_trials), encoding="utf-8")
        with Ledger.open(folder / "ledger.sqlite") as ledger:
            yield prepare(load_study(str(study)), []), ledger, folder


def _cpu_s(arguments: Sequence[str]) -> float:
    """CPU seconds of a `lai` command with its children."""
    before = os.times()
    lai = Path(sys.executable).with_name("lai")
    subprocess.run([lai, *arguments], check=True, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


_MEASUREMENTS: dict[str, Callable[..., dict[str, float]]] = {
    "driver": through_driver,
    "bare": bare_tune,
    "sleepers": sleeping_study,
    "reports": reporting,
    "start": starting,
    "plan": planning,
    "finished": finished_study,
}


def _apart(name: str, *numbers: int) -> dict[str, float]:
    """Measure in a new process."""
    command = [sys.executable, "-m", "tests.benchmarks.driver", name, *map(str, numbers)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{name} {numbers}: {done.stderr}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    sys.stderr.write(f"{name} {numbers}: {result}\n")
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """All measurements, or the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measurement", nargs="?", choices=_MEASUREMENTS)
    parser.add_argument("numbers", nargs="*", type=int)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--repetitions", type=int, default=7)
    given = parser.parse_args(arguments)
    if given.measurement is not None:
        sys.stdout.write(json.dumps(_MEASUREMENTS[given.measurement](*given.numbers)) + "\n")
        return
    date = dt.datetime.now(dt.UTC).date().isoformat()
    path = given.out / f"{date}-driver-{slug(processor())}.md"
    text = _page(date, given.repetitions)
    given.out.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{path}\n")


def _page(date: str, repetitions: int) -> str:
    load = os.getloadavg()[0]
    pairs = [(_apart("bare", 1000), _apart("driver", 1000)) for _ in range(repetitions)]
    bare, driver = (
        {name: statistics.median(run[name] for run in runs) for name in ("per_s", "cpu_s")}
        for runs in zip(*pairs, strict=True)
    )
    ratios = [ours["per_s"] / theirs["per_s"] for theirs, ours in pairs]
    best_theirs, best_ours = (max(run["per_s"] for run in runs) for runs in zip(*pairs, strict=True))
    finished = _apart("finished", 1000)
    bars = [
        Bar("1,000 no-op trials, against bare `Tuner.fit`", 0.9, statistics.median(ratios)),
        Bar("the best run against bare Tune's best", 0.9, best_ours / best_theirs),
        Bar("no-op trials a second", 20, driver["per_s"]),
        Bar("60 five-second trials on two slots: ideal / wall time", 0.95, _apart("sleepers")["share"]),
        Bar(f"epochs recorded a second, two trials of {_TALK_EPOCHS:,}", 500, _apart("reports")["per_s"]),
        Bar("from `lai run` to its first trial, seconds", 10,
            statistics.median(_apart("start")["wall_s"] for _ in range(repetitions)), at_most=True),
        Bar("driver memory from trial 1,000 to 10,000, kB a trial", 10,
            _apart("driver", 10_000)["kb_per_trial"], at_most=True),
        Bar("`lai plan` on 10,000 trials, CPU s", 5, _apart("plan", 10_000)["cpu_s"], at_most=True),
        Bar("`lai run` on a finished study of 1,000, CPU s", 5, finished["cpu_s"], at_most=True),
        Bar("trials that it starts", 0, finished["started"], at_most=True),
    ]  # fmt: skip
    lines = [
        f"# The driver's own cost, {date}, {processor()}",
        "",
        f"`make bench-driver` on {os.cpu_count()} cores, Python {platform.python_version()}; load average "
        f"{load:.1f} at the start and, by its own processes, {os.getloadavg()[0]:.1f} at the end. Trials do "
        f"nothing or sleep. The first line and the third are medians of {repetitions} alternating pairs "
        f"(ratios {', '.join(f'{ratio:.2f}' for ratio in ratios)}); bare Tune ran "
        f"{bare['per_s']:.1f} trials a second. Of CPU time 1,000 trials took {driver['cpu_s']:.1f} s in the "
        f"driver's process, and {bare['cpu_s']:.1f} s in bare Tune's.",
        "",
        "| bar | wanted | measured | |",
        "| --- | --- | --- | --- |",
        *map(str, bars),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
