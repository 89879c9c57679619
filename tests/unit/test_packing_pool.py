"""Devices with room: what is counted on them, and which size starts next."""

import itertools
import random
import time

import pytest

from lai_net.errors import InputError
from tune.engine import Node
from tune.packing.pool import Pool, best_next


def test_cpus_bound_what_runs_side_by_side() -> None:
    pool = Pool(lambda: [Node(cpus=2, gpus=1)], cpus=1)
    for key in "ab":
        pool.take(key, "logical", 200)
    assert pool.choose({"logical": {200: 1}}, {}) is None
    pool.give_back("a")
    assert pool.choose({"logical": {200: 1}}, {}) == ("logical", 200)


def test_no_device_is_refused() -> None:
    with pytest.raises(InputError, match="no node has one"):
        Pool(lambda: [Node(cpus=4)])


def test_a_node_that_joins_late_counts_and_what_was_on_one_that_goes_is_counted_on_its_like() -> None:
    nodes = [Node(8, 1, "A100"), Node(8, 1, "A100")]
    pool = Pool(lambda: nodes)
    for key in "abcd":
        pool.take(key, "A100", 500)
    assert pool.choose({"A100": {500: 9}, "H100": {500: 9}}, {}) is None
    nodes = [Node(8, 1, "A100"), Node(8, 1, "H100")]
    pool.refresh()
    assert pool.device_types == ("A100", "H100")
    assert pool.choose({"A100": {500: 9}, "H100": {500: 9}}, {}) == ("H100", 500)
    for key in "ab":  # whichever the engine says are lost
        pool.give_back(key)
        assert pool.choose({"A100": {500: 9}}, {}) is None, "the other two run on what is left"
    pool.give_back("c")
    assert pool.choose({"A100": {500: 9}}, {}) == ("A100", 500)
    pool.give_back("d")
    assert pool.has_empty("A100")


def test_device_is_filled_with_what_leaves_the_least_room() -> None:
    assert best_next(550, {450: 9, 270: 9}, most=9) == 270
    assert best_next(550, {450: 9, 270: 9}, most=1) == 450
    assert best_next(1000, {500: 1, 300: 2}, most=9) == 500
    assert best_next(900, {300: 3, 450: 2, 600: 1}, most=9) == 600, "of equal fills the larger first"


def test_next_size_is_that_of_all_fills_counted() -> None:
    rng = random.Random(3)
    for _ in range(300):
        room, most = rng.randint(60, 200), rng.randint(1, 6)
        waiting = {rng.randint(10, 60): rng.randint(1, 3) for _ in range(rng.randint(1, 4))}
        items = [size for size, count in sorted(waiting.items(), reverse=True) for _ in range(count)]
        fills = [
            fill
            for number in range(1, most + 1)
            for fill in itertools.combinations(items, number)
            if sum(fill) <= room
        ]
        assert best_next(room, waiting, most) == max(fills, key=lambda fill: (sum(fill), fill))[0]


def test_many_small_sizes_take_no_time() -> None:
    began_s = time.process_time()
    best_next(970, dict.fromkeys((23, 24, 25, 26, 27, 28), 40), most=1000)
    assert time.process_time() - began_s < 0.5, "counting all fills takes seconds"


def test_device_is_filled_with_no_more_than_the_cpus_of_its_node_start() -> None:
    waiting = {"logical": {270: 2, 300: 1}}
    for cpus, expected in ((3, 270), (2, 300)):
        pool = Pool(lambda cpus=cpus: [Node(cpus, 1)])
        pool.take("a", "logical", 450)
        assert pool.choose(waiting, {}) == ("logical", expected)
