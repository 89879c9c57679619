"""A small benchmark of speed, as `make bench` writes it. No test itself."""

import csv
from pathlib import Path
from typing import Any

from analysis.speed import arrangement, inference_settings
from lai_net.config import TrialConfig
from lai_net.preset import load_preset
from lai_net.settings import with_settings
from tune.spec.baseline import as_pl_marker, model_of
from tune.spec.cells import with_representation

BASE = load_preset("demo-ner")
NO_GRAPH = with_settings(BASE, {"graph.layers": 0})


def measured(config: TrialConfig, speed: float, peak: float | str = "", **changes: Any) -> dict[str, Any]:
    """A row of the benchmark."""
    return {
        "dataset": "SciERC", "phase": config.phase, "model": model_of(config),
        "representation": config.input.family, "variant": arrangement(config), "step": "inference",
        "encoder": config.encoder.name, "precision": config.training.precision,
        "sentences_per_cpu_second": speed, "ratio": 1.0, "gflop_per_sentence": 1.0, "peak_mib": peak,
        "threads": 1, "repetitions": 5, "processor": "Some CPU", "date": "2026-11-22", "commit": "abc",
        "layers": 1, "graph_layers": config.graph.layers, "preset": "",
        "settings": inference_settings(config),
    } | changes  # fmt: skip


def representation(level: str) -> TrialConfig:
    config = with_representation(NO_GRAPH, level)
    assert config is not None
    return config


def write_benchmark(folder: Path) -> Path:
    rows = [
        measured(BASE, 15),
        measured(BASE, 5, variant="padded"),
        measured(BASE, 99, step="training"),
        measured(with_settings(BASE, {"encoder.num_layers": 2}), 8),
        measured(as_pl_marker(BASE), 20),
        measured(representation("annotate"), 16, 200),
        measured(representation("enumerate"), 18, 190),
        measured(representation("vanilla"), 60, 100),
    ]
    path = folder / "speed.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
