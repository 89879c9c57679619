"""The speed benchmark as it is read: whose speed a row is, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from analysis.speed import read_speeds, speed_of
from lai_net.errors import InputError
from lai_net.settings import with_settings
from tests.unit.measuring_speed import BASE


@pytest.mark.parametrize(
    "change",
    [{"encoder.num_layers": 3}, {"encoder.num_layers": None}, {"encoder.name": "bert-base-shape"},
     {"training.precision": "bf16"}, {"filter.stage": "marker"}, {"filter.ratio": 0.75},
     {"filter.enabled": False}, {"graph.layers": 2}, {"graph.heads": 2}, {"input.attention_mask": "full"},
     {"input.context_tokens": 100}, {"input.representation": "marker"},
     {"head.kind": "linear", "graph.layers": 0}],
    ids=str,
)  # fmt: skip
def test_a_speed_is_of_its_very_settings(benchmark_file: Path, change: dict[str, Any]) -> None:
    speeds = read_speeds(benchmark_file)
    found = speed_of(speeds, "SciERC", BASE)
    assert found is not None
    assert (found.sentences_per_cpu_second, found.variant, found.shape) == (
        15.0, "early-filter", "minilm, 1 layer, fp32",
    )  # fmt: skip
    assert speed_of(speeds, "SciERC", with_settings(BASE, change)) is None
    assert speed_of(speeds, "ADE", BASE) is None
    assert speed_of(speeds, "SciERC", None) is None


@pytest.mark.parametrize(
    "change",
    [{"training.epochs": 9}, {"training.encoder_lr": 1e-6}, {"encoder.freeze": "none"},
     {"graph.dropout": 0.5}, {"filter.cold_epochs": 2}, {"filter.cold_negatives": 0}],
    ids=str,
)  # fmt: skip
def test_settings_of_training_change_no_speed_of_inference(
    benchmark_file: Path, change: dict[str, Any]
) -> None:
    found = speed_of(read_speeds(benchmark_file), "SciERC", with_settings(BASE, change))
    assert found is not None
    assert found.sentences_per_cpu_second == 15.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dataset,phase", "dataset,stage", ":1: column 'phase' is missing"),
        (",settings", ",setting", ":1: column 'settings' is missing"),
        ("fp32,20,", "fp32,fast,", ":6: sentences_per_cpu_second must be a number above 0, but got 'fast'"),
        ("fp32,5,", "fp32,0,", ":3: sentences_per_cpu_second must be a number above 0, but got '0'"),
        ("LAI-Net,vanilla", "LAI-Net,plain", ":9: representation must be one of vanilla"),
        ("SciERC,NER,PL-Marker,", "SciERC,NER,", ":6: must have 21 fields, as the header has"),
    ],
    ids=["column", "no settings", "text", "zero", "level", "fields"],
)
def test_a_bad_benchmark_is_refused_with_its_place(
    benchmark_file: Path, old: str, new: str, message: str
) -> None:
    benchmark_file.write_text(benchmark_file.read_text().replace(old, new), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_speeds(benchmark_file)
    assert message in str(error.value)


@pytest.mark.parametrize(("column", "other"), [("processor", "Other CPU"), ("threads", "2")])
def test_speeds_of_two_machines_are_refused(benchmark_file: Path, column: str, other: str) -> None:
    head, *lines = benchmark_file.read_text(encoding="utf-8").splitlines()
    fields = lines[3].split(",")
    first = fields[head.split(",").index(column)]
    fields[head.split(",").index(column)] = other
    lines[3] = ",".join(fields)
    benchmark_file.write_text("\n".join([head, *lines]), encoding="utf-8")
    with pytest.raises(
        InputError, match=rf"speed.csv:5: {column} is {other}, but {first} in the rows above;"
    ):
        read_speeds(benchmark_file)
