"""`make drill`: random schedules of kills, each followed by calls to the study's end; what they violated."""

import argparse
import datetime as dt
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.commit import commit_now
from tests.conftest import save_tiny_encoder
from tests.drills.playing import Outcome, nodes, play, start_driver
from tests.drills.schedule import Engine, schedule
from tests.drills.study import study_text


def main(arguments: list[str] | None = None) -> int:
    """Play the schedules, print how each went, write the page; 1 if anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first schedule")
    parser.add_argument("--out", type=Path, help="where the page goes; none without")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    numbers = range(given.first, given.first + given.schedules)
    # the slow kind last, so that Ray is up only while it is needed
    ordered = sorted((schedule(number) for number in numbers), key=lambda item: item.engine == "cluster")
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="drill-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        studies = _studies(Path(folder), {item.engine for item in ordered})
        local = [item for item in ordered if item.engine != "cluster"]
        for item in local:
            outcomes.append(_played(play(item, *studies[item.engine], None)))
        if len(local) < len(ordered):
            with nodes() as cluster:
                for item in ordered[len(local) :]:
                    outcomes.append(_played(play(item, *studies["cluster"], cluster)))
    hours = (time.monotonic() - started) / 3600
    text = page(outcomes, hours)
    sys.stdout.write(text)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / f"{dt.date.today()}-kill-drill.md").write_text(text, encoding="utf-8")
    return int(any(outcome.violations for outcome in outcomes))


def _studies(folder: Path, engines: set[Engine]) -> dict[Engine, tuple[Path, Path]]:
    """By engine the study's file and the ledger of an undisturbed run."""
    encoder = folder / "encoder"
    encoder.mkdir()
    if "real" in engines:
        save_tiny_encoder(encoder)
    made: dict[Engine, tuple[Path, Path]] = {}
    for engine, text in (("serial", study_text([1, 2])), ("real", study_text([1], 3, encoder))):
        if engine not in engines and not (engine == "serial" and "cluster" in engines):
            continue
        study, ledger = folder / f"{engine}.toml", folder / engine / "ledger.sqlite"
        study.write_text(text)
        driver = start_driver(study, ledger, engine)
        _, err = driver.communicate()
        if driver.returncode != 0:
            raise RuntimeError(f"the undisturbed run failed: {err}")
        made[engine] = (study, ledger)
    if "cluster" in engines:
        made["cluster"] = made["serial"]
    return made


def _played(outcome: Outcome) -> Outcome:
    kills = ", ".join(f"{count} {victim}" for victim, count in sorted(outcome.kills.items())) or "none"
    said = "; ".join(outcome.violations) or "held"
    item = outcome.schedule
    sys.stdout.write(
        f"schedule {item.number} ({item.engine}): kills {kills}; {outcome.calls} calls; {said}\n"
    )
    sys.stdout.flush()
    return outcome


def page(outcomes: list[Outcome], hours: float) -> str:
    """The page of docs/benchmarks."""
    wrong = [(item.schedule.number, text) for item in outcomes for text in item.violations]
    what = {
        "serial": "stand-in training, one trial after another",
        "real": "true training with a tiny encoder, one trial after another",
        "cluster": "stand-in training on a Ray cluster of two raylets, two trials side by side",
    }
    victims = ("driver", "driver at a fault point", "worker", "node")
    rows = []
    for engine, name in what.items():
        mine = [item for item in outcomes if item.schedule.engine == engine]
        kills = sum((item.kills for item in mine), Counter())
        bad = sum(bool(item.violations) for item in mine)
        counts = " | ".join(str(kills[victim]) for victim in victims)
        calls, fell = sum(item.calls for item in mine), sum(item.fell for item in mine)
        rows.append(f"| {name} | {len(mine)} | {counts} | {calls} | {fell} | {bad} |")
    listed = "\n".join(f"- schedule {number}: {text}" for number, text in wrong) or "None."
    return f"""# Kill drill

`make drill`, {dt.date.today()}, {hours:.2f} h of wall clock, commit {commit_now()}.
**{len(outcomes)} random schedules, {len(wrong)} violations.** A kill is a SIGKILL that hit; a schedule is a
function of its number (`tests/drills/schedule.py`).

| | schedules | {" | ".join(f"kills of {victim}" for victim in victims)} | calls | fell | violated |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(rows)}

Looked at after every call: a finished trial that was trained again or finished twice, a finished result that
was lost. At the end: status, epochs, evaluations and model bytes of every trial and the table against those
of an undisturbed run (times aside), and files of other attempts. The stand-in's numbers are hashes of all
epochs before, so a wrong resume shows; true training runs on the CPU, where it must be equal bit for bit. A
killed node is a raylet with its workers on the same machine; no network was cut and no power lost. Ray may
attach a driver to any raylet of its machine: a call whose own raylet was killed falls with it, and the next
goes on (column `fell`). The last column counts schedules.

## Violations

{listed}
"""


if __name__ == "__main__":
    sys.exit(main())
