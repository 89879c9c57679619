"""Random schedules of kills: a function of their number alone."""

import random
from dataclasses import dataclass
from typing import Literal

from tune.fault_points import POINTS

Victim = Literal["driver", "worker", "node"]
Engine = Literal["serial", "cluster", "real"]

_OTHERS = ("ledger.migrate.", "search.", "results.", "probe.", "model.")
_TABLE_POINTS = tuple(point for point in POINTS if not point.startswith(_OTHERS))
_ONCE = ("ledger.create.", "trials.register.")


@dataclass(frozen=True)
class Kill:
    """SIGKILL at `delay_s` after so many more epochs were recorded."""

    victim: Victim
    epochs: int
    delay_s: float


@dataclass(frozen=True)
class Call:
    """One `lai run`: armed to end at a fault point (POINT:COUNT), or hit from outside; the driver last."""

    fault: str | None = None
    kills: tuple[Kill, ...] = ()


@dataclass(frozen=True)
class Schedule:
    """Calls that are disturbed; undisturbed ones follow until the study is done."""

    number: int
    engine: Engine
    calls: tuple[Call, ...]


def schedule(number: int) -> Schedule:
    """Of ten, one trains in truth; of the others one in three is on a cluster of two nodes."""
    rng = random.Random(20261122 * 1000 + number)
    if number % 10 == 9:
        return Schedule(number, "real", tuple(_driver_call(rng, most=4) for _ in range(rng.randint(1, 2))))
    if number % 3:
        return Schedule(number, "serial", tuple(_driver_call(rng, most=20) for _ in range(rng.randint(1, 4))))
    sure: Victim = "node" if number % 2 else "worker"
    more: list[Victim] = [rng.choice(("worker", "node")) for _ in range(rng.randint(0, 1))]
    calls = [Call(kills=tuple(_kill(rng, victim, most=12) for victim in (sure, *more)))]
    if rng.random() < 0.6:
        last = Call(kills=(*calls[0].kills, _kill(rng, "driver", most=12)))
        point = rng.choice([item for item in _TABLE_POINTS if not item.startswith("worker.")])
        calls = [last, Call(fault=f"{point}:1", kills=(_kill(rng, sure, most=4),))]
    return Schedule(number, "cluster", tuple(calls))


def _driver_call(rng: random.Random, *, most: int) -> Call:
    if rng.random() < 0.4:
        return Call(kills=(_kill(rng, "driver", most=most),))
    point = rng.choice(_TABLE_POINTS)
    return Call(fault=f"{point}:{1 if point.startswith(_ONCE) else rng.randint(1, 4)}")


def _kill(rng: random.Random, victim: Victim, *, most: int) -> Kill:
    return Kill(victim, rng.randint(1, most), rng.random() * 0.1)
