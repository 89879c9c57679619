"""CPU seconds in turns, floating point operations, and peak memory in a process of its own."""

import gc
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lai_net.process_memory import hand_back
from lai_net.training.probe import RssMeter
from tests.benchmarks.cases import Case, Workload, benchmark_corpus, neighbours


def cpu_seconds(workloads: Mapping[Case, Workload], repetitions: int) -> dict[Case, float]:
    """Median CPU seconds of this process a run of each; every repetition takes each in turn."""
    times: dict[Case, list[float]] = {case: [] for case in workloads}
    for _ in range(repetitions):
        for case, workload in workloads.items():
            gc.collect()
            with workload.warmed_up():
                begin = time.process_time()
                workload()
                times[case].append(time.process_time() - begin)
    return {case: statistics.median(seconds) for case, seconds in times.items()}


def operations(case: Case, num_layers: int, build: Callable[[Case, int], Workload]) -> int:
    """Floating point operations of the matrix products in one run, those inside attention among them.

    Counted with one and with two layers of the encoder: what each further layer adds is the same.
    """
    one, two = (_counted(build(case, layers)) for layers in (1, 2))
    return one + (num_layers - 1) * (two - one)


def _counted(workload: Workload) -> int:
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        workload()
    return int(counter.get_total_flops())


def peaks_mib(cases: Sequence[Case], *, batch_size: int) -> dict[Case, float]:
    """Growth of peak memory in MiB while a new process runs a case's first and only batch.

    Each process is a fork of one that has imported what is measured and has run nothing.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        peaks = pool.map(partial(_peak_mib, batch_size=batch_size), cases)
        return dict(zip(cases, peaks, strict=True))


def _peak_mib(case: Case, batch_size: int) -> float:
    torch.set_num_threads(1)
    return round(_grown(memory_workload(case, batch_size)))


def _grown(run: Workload) -> float:
    """By the meter that stands in for a GPU's, in MiB."""
    if run.case.step == "training":
        run.hold_moments()
    gc.collect()
    hand_back()  # what is free is no part of what was there
    meter = RssMeter()
    run()
    return meter.peak_bytes() / 1024**2


def memory_workload(case: Case, batch_size: int) -> Workload:
    """One sentence, or a batch to train on; without dropout: the masks of the padded shape would not fit."""
    corpus = benchmark_corpus()
    count = 1 if case.step == "inference" else batch_size if case.phase == "NER" else batch_size // 2
    blocks = neighbours(corpus.sentences("test"), case.phase, 1, count)
    return Workload(case, corpus, blocks, batch_size=batch_size, has_dropout=False)
