"""`make bench`: what PL-Marker's padded shapes cost, and what ours do, measured in one run."""

import argparse
import datetime as dt
import gc
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

import torch

from analysis.speed import inference_settings
from lai_net.device import has_bf16
from tests.benchmarks.cases import (
    Case,
    Workload,
    benchmark_corpus,
    memory_cases,
    neighbours,
    preset_cases,
    speed_cases,
)
from tests.benchmarks.measuring import cpu_seconds, operations, peaks_mib
from tests.benchmarks.page import Row, page, processor, slug, write_rows
from tests.commit import commit_now

_PADDED = "padded"
BLOCKS = {
    ("NER", "inference"): (8, 4),
    ("RE", "inference"): (4, 4),
    ("NER", "training"): (1, 4),
    ("RE", "training"): (1, 4),
}
"""Strata, and sentences of each; those of training are one step.

NER has eight: of four none reaches into the eighth of SciERC's sentences that fill two packs of PL-Marker's.
"""
BATCH, _MEMORY_BATCH = 16, 8


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write `<date>-<processor>.csv` and `.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--encoders", nargs="*", default=["bert-base-shape", "minilm"])
    parser.add_argument("--presets", nargs="*", default=["first", "six-layer"], help="of committed studies")
    parser.add_argument("--quick", action="store_true", help="a tiny encoder, one repetition")
    parser.add_argument("--no-memory", action="store_true", help="leave the peak memory out")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"] if has_bf16("cpu") else ["fp32"])
    given = parser.parse_args(arguments)
    blocks = BLOCKS
    if given.quick:
        given.encoders, given.repetitions, blocks = ["tiny"], 1, dict.fromkeys(BLOCKS, (1, 1))
        given.presets, given.precisions = [], ["fp32"]
    torch.set_num_threads(1)
    studied = list(preset_cases(given.presets, given.precisions))
    cases = [*speed_cases(given.encoders, given.precisions), *studied]
    weighed = [case for encoder in given.encoders for case in memory_cases(encoder)] + studied
    # First, while this process is small: a padded training step takes what memory there is.
    size = 2 if given.quick else _MEMORY_BATCH
    peaks = {} if given.no_memory else peaks_mib(weighed, batch_size=size)
    rows = list(_rows(cases, blocks, given.repetitions, peaks))
    given.out.mkdir(parents=True, exist_ok=True)
    kind = "" if given.encoders else "presets-"
    target = given.out / f"{rows[0].date}-{kind}{slug(rows[0].processor)}"
    write_rows(target.with_suffix(".csv"), rows)
    target.with_suffix(".md").write_text(page(rows, blocks), encoding="utf-8")
    sys.stdout.write(f"{target}.csv\n{target}.md\n")


def _rows(
    cases: Sequence[Case],
    blocks: Mapping[tuple[str, str], tuple[int, int]],
    repetitions: int,
    peaks: Mapping[Case, float],
) -> Iterator[Row]:
    corpus = benchmark_corpus()
    commit = commit_now()

    def build(case: Case, num_layers: int | None = None) -> Workload:
        chosen = neighbours(corpus.sentences("test"), case.phase, *blocks[case.phase, case.step])
        return Workload(case, corpus, chosen, batch_size=BATCH, num_layers=num_layers)

    for _, group in groupby(cases, key=lambda case: case.group):
        workloads: dict[Case, Workload] = {}
        for case in group:
            known = workloads.get(case.in_fp32)
            workloads[case] = build(case) if known is None else known.of(case)
        gflops = {case: operations(case, run.num_layers, build) / 1e9 for case, run in workloads.items()}
        seconds = cpu_seconds(workloads, repetitions)
        padded = {case.precision: seconds[case] for case in workloads if case.variant == _PADDED}
        for case in workloads:
            num_sentences = math.prod(blocks[case.phase, case.step])
            config = workloads[case].task.config
            row = Row(
                dataset=corpus.name,
                **{name: value for name, value in asdict(case).items() if name != "has_graph"},
                sentences_per_cpu_second=num_sentences / seconds[case],
                ratio=padded[case.precision] / seconds[case],
                gflop_per_sentence=gflops[case] / num_sentences,
                peak_mib=peaks.get(case),
                threads=torch.get_num_threads(),
                repetitions=repetitions,
                processor=processor(),
                date=dt.datetime.now(dt.UTC).date().isoformat(),
                commit=commit,
                layers=workloads[case].num_layers,
                graph_layers=config.graph.layers,
                settings=inference_settings(config),
            )
            named = (*case.group, case.precision, case.model, case.representation, case.variant)
            sys.stderr.write(f"{' '.join(named)}: ")
            sys.stderr.write(f"{row.sentences_per_cpu_second:.3f} sentences/CPU s, {row.ratio:.2f}x\n")
            yield row
        workloads.clear()  # each holds weights, in training gradients and moments, too
        gc.collect()


if __name__ == "__main__":
    main()
