"""What a trial takes of a device: shapes that share a measurement, sizes that shares are rounded to."""

import itertools
import random

import pytest

from lai_net.config import TrialConfig
from lai_net.settings import with_settings
from tests.benchmarks.simulated import Trial, probe_row
from tune.packing.shape import shape_id
from tune.packing.shares import choose_sizes, needed_units, next_larger

NER = TrialConfig(phase="NER")


def test_sizes_waste_least() -> None:
    assert choose_sizes([]) == ()
    assert choose_sizes([300, 310, 500], most=2) == (310, 500)
    rng = random.Random(0)
    for _ in range(20):
        needs = [rng.randint(200, 470) for _ in range(8)]
        best = min(
            sum(min(size for size in (*cuts, max(needs)) if size >= need) - need for need in needs)
            for cuts in itertools.combinations(sorted(set(needs)), 2)
        )
        sizes = choose_sizes(needs, most=3)
        assert sum(min(size for size in sizes if size >= need) - need for need in needs) == best


def test_shares_from_bytes() -> None:
    assert needed_units(probe_row(Trial("t", "a", 0.3, 0.3))) == 315
    assert needed_units(probe_row(Trial("t", "a", 0.99, 0.99))) == 1000
    assert [next_larger(units) for units in (315, 370, 375, 900, 1000)] == [375, 500, 500, 1000, None]


@pytest.mark.parametrize(
    ("setting", "value", "is_same"),
    [
        ("training.encoder_lr", 1e-4, True),
        ("training.epochs", 3, True),
        ("training.batch_size", 4, False),
        ("training.activation_checkpointing", True, False),
        ("training.precision", "bf16", False),
        ("graph.heads", 2, False),
        ("input.max_text_tokens", 90, False),
        ("graph.dropout", 0.2, True),
        ("graph.dropout", 0.0, False),
        ("head.dropout", 0.2, True),
        ("head.dropout", 0.0, False),
    ],
)
def test_shape_is_what_changes_memory(setting: str, value: object, is_same: bool) -> None:
    changed = shape_id(with_settings(NER, {setting: value}), "SciERC", "e")
    assert (changed == shape_id(NER, "SciERC", "e")) is is_same
    assert shape_id(NER, "ADE", "e") != shape_id(NER, "SciERC", "e")


@pytest.mark.parametrize(
    ("settings", "is_same"),
    [
        ({"head.symmetric_rule": "both", "head.relation_threshold": 0.3}, True),
        ({"head.overlapping_triples": "drop"}, True),
        ({"head.object_typing": "loss"}, False),
        ({"head.shortcut": False}, False),
    ],
)
def test_shape_of_re_is_what_changes_memory(settings: dict[str, object], is_same: bool) -> None:
    re = TrialConfig(phase="RE")
    assert (shape_id(with_settings(re, settings), "ADE", "e") == shape_id(re, "ADE", "e")) is is_same


def test_shape_without_a_graph_has_no_dropout_of_it() -> None:
    bare = with_settings(NER, {"graph.layers": 0})
    assert shape_id(bare, "ADE", "e") == shape_id(with_settings(bare, {"graph.dropout": 0.0}), "ADE", "e")
