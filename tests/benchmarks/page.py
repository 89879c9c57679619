"""The benchmark's rows as CSV and as a page with the bars that were set before."""

import csv
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby, product
from pathlib import Path

import torch
import transformers

from tests.benchmarks.cases import ONE_BY_ONE


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured case.

    Attributes:
        peak_mib: None where it was not measured.
        layers: of the encoder that ran.
        graph_layers: GCN layers.
        preset: empty where none was measured.
        settings: see `analysis.speed.inference_settings`.
    """

    dataset: str
    phase: str
    model: str
    representation: str
    variant: str
    step: str
    encoder: str
    precision: str
    sentences_per_cpu_second: float
    ratio: float
    gflop_per_sentence: float
    peak_mib: float | None
    threads: int
    repetitions: int
    processor: str
    date: str
    commit: str
    layers: int
    graph_layers: int
    preset: str
    settings: str


@dataclass(frozen=True)
class Bar:
    """What was asked for before anything was measured, and what was; None where nothing was."""

    text: str
    bound: float
    value: float | None
    at_most: bool = False

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        if self.value is None:
            return f"| {self.text} | {sign} {self.bound:.2g} | not measured | |"
        met = self.value <= self.bound if self.at_most else self.value >= self.bound
        verdict = "met" if met else "**missed**"
        return f"| {self.text} | {sign} {self.bound:.2g} | {self.value:.2f} | {verdict} |"


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """One line a row, with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [item.name for item in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            numbers = {
                name: float(f"{value:.4g}") for name, value in asdict(row).items() if isinstance(value, float)
            }
            writer.writerow(asdict(row) | numbers)


def page(rows: Sequence[Row], blocks: Mapping[tuple[str, str], tuple[int, int]]) -> str:
    """Hardware and versions, the bars, and a table a phase and step; `blocks` as measured."""
    first = rows[0]

    def strata(phase: str) -> str:
        count, width = blocks[phase, "inference"]
        return f"{width} around the middle of each of {count} strata"

    parts = [
        f"# Speed, {first.date}, {first.processor}",
        "",
        f"`make bench` at commit {first.commit}; torch {torch.__version__}, transformers "
        f"{transformers.__version__}, Python {platform.python_version()}; threads: {first.threads}. "
        "Sentences per second of CPU time: medians of repetitions in which arrangements and precisions "
        f"take turns ({first.repetitions}). Test sentences of {first.dataset}, without context.",
        "",
        f"- Inference: neighbours by size together, as an evaluation orders them, {strata('NER')} (NER) or "
        f"{strata('RE')} (RE); one by one where a row says so. Size is words, in RE times entities (two or "
        "more). Weights are cast (bf16) and annotations read before the clock starts: a split has that once.",
        f"- Training: a step on {blocks['NER', 'training'][1]} (NER) or {blocks['RE', 'training'][1]} (RE) "
        "neighbours around the median; forward, backward and update.",
        "- GFLOP are those of matrix products, attention's among them.",
        "- Memory: growth of the peak, over weights and the optimizer's moments, in a process of its own; "
        "inference on one sentence, a training step at batch 8 without dropout (its masks in the padded "
        "shape would not fit).",
        "- `padded` is PL-Marker's model in PL-Marker's shapes (1,024 tokens in NER, 288 in RE, one dense "
        "pass) in our code; ratios are against it. bert-base-shape has random weights. No GPU was used.",
    ]
    if any(row.preset for row in rows):
        parts += [
            "- Under a preset's name: its settings as a study trains them, with its graph and, as methods "
            "w/o 2nd and w/o 1st have it, with 0 GCN layers, in each representation; weights are untrained. "
            "What is not `padded` is arranged as in a trial. Memory is in the precision named.",
        ]
    if not all(row.preset for row in rows):
        met = map(str, bars([row for row in rows if not row.preset]))
        parts += ["", "| bar | wanted | measured | |", "| --- | --- | --- | --- |", *met]
    for _, group in groupby(
        rows, key=lambda row: (row.phase, row.step, row.preset, row.encoder, row.precision)
    ):
        parts += ["", *_section(list(group))]
    return "\n".join(parts) + "\n"


def bars(rows: Sequence[Row]) -> Iterator[Bar]:
    """Those of speed, on the first encoder."""
    own = [row for row in rows if row.encoder == rows[0].encoder]
    ours = {(r.phase, r.step, r.variant, r.precision): r for r in own if r.representation == "annotate"}
    theirs = {
        (r.phase, r.step, r.variant): r for r in own if r.model == "PL-Marker" and r.precision == "fp32"
    }
    for phase, variant, bound in (
        ("NER", "two-pass", 3.5),
        ("RE", "two-pass", 4.5),
        ("NER", "early-filter", 12),
    ):
        for way in (variant, f"{variant}, {ONE_BY_ONE}"):
            row = ours[phase, "inference", way, "fp32"]
            yield Bar(f"{phase} inference, {way}, against padded", bound, row.ratio)
    for phase in ("NER", "RE"):
        row, padded = ours[phase, "training", "two-pass", "fp32"], theirs[phase, "training", "padded"]
        yield Bar(f"{phase} training step, two-pass against padded", 3, row.ratio)
        memory = row.peak_mib / padded.peak_mib if row.peak_mib and padded.peak_mib else None
        yield Bar(f"{phase} training step, peak memory against padded", 0.5, memory, at_most=True)
    for phase, step in product(("NER", "RE"), ("inference", "training")):
        row = ours[phase, step, "two-pass", "fp32"]
        time = theirs[phase, step, "two-pass"].ratio / row.ratio
        yield Bar(f"{phase} {step}, time of LAI-Net against PL-Marker, two-pass", 1.1, time, at_most=True)
    for phase, step in product(("NER", "RE"), ("inference", "training")):
        row, half = ours[phase, step, "two-pass", "fp32"], ours.get((phase, step, "two-pass", "bf16"))
        gain = half.sentences_per_cpu_second / row.sentences_per_cpu_second if half else None
        yield Bar(f"{phase} {step}, two-pass, bf16 against fp32", 2, gain)


def _section(rows: Sequence[Row]) -> Iterator[str]:
    """What is compared with one padded case, as a table."""
    first = rows[0]
    layers = f"{first.encoder}, {first.layers} layers"
    named = f"{first.preset} ({layers})" if first.preset else layers
    yield f"## {first.phase} {first.step}, {named}, {first.precision}"
    yield ""
    yield (
        "| model | representation | GCN layers | arrangement | sentences/CPU s | ratio | GFLOP/sentence "
        "| peak MiB |"
    )
    yield "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: |"
    for row in rows:
        peak = "" if row.peak_mib is None else f"{row.peak_mib:,.0f}"
        yield (
            f"| {row.model} | {row.representation} | {row.graph_layers} | {row.variant} | "
            f"{row.sentences_per_cpu_second:.3g} | {row.ratio:.2f} | {row.gflop_per_sentence:.3g} | {peak} |"
        )


def processor() -> str:
    """Its name and the instructions that decide bf16's speed."""
    flags = torch.cpu.get_capabilities()
    bf16 = [name for name in ("avx512_bf16", "amx_bf16") if flags.get(name)]
    return " ".join([str(flags.get("cpu_name") or platform.machine()), *bf16])


def slug(name: str) -> str:
    """Letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
