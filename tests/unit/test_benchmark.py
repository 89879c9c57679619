"""The benchmark measures what it says: the same logits in every arrangement."""

import math
import statistics
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from analysis.speed import arrangement, inference_settings, read_speeds
from lai_net.config import Phase
from lai_net.corpora.loading import load_corpus
from lai_net.schema import Corpus, Sentence
from tests.benchmarks.__main__ import BATCH, BLOCKS, main
from tests.benchmarks.cases import (
    SCIERC,
    Workload,
    benchmark_corpus,
    neighbours,
    preset_cases,
    speed_cases,
)
from tests.benchmarks.padded import PL_MARKER
from tests.benchmarks.page import Bar, slug
from tune.spec.baseline import as_pl_marker
from tune.spec.cells import expand
from tune.spec.study import load_study


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus("embedded", name="embedded")


CASES = list(speed_cases(["tiny"], ["fp32"]))


@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_padding_changes_no_score_and_no_loss(phase: str, corpus: Corpus) -> None:
    (padded, two_pass) = (
        next(case for case in CASES if (case.phase, case.step, case.variant) == (phase, "training", variant))
        for variant in ("padded", "two-pass")
    )
    assert padded.model == two_pass.model == "PL-Marker"
    blocks = neighbours(corpus.sentences("train"), "RE", 1, 3)
    losses, scores = [], []
    for case in (padded, two_pass):
        workload = Workload(case, corpus, blocks, batch_size=50, has_dropout=False)
        ((loss,),) = workload.task.steps(1)
        losses.append(loss.item())
        found = workload.task.predict(blocks[0]).sentences
        scores.append([score for item in found for _, score in (*item.entities, *item.relations)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert len(scores[0]) > 3
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_the_padded_shapes_are_pl_markers(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = {}
    for phase in ("NER", "RE"):
        case = next(case for case in CASES if case.phase == phase and case.variant == "padded")
        workload = Workload(case, corpus, [corpus.sentences("train")[:1]], batch_size=50)
        encoder = workload.task.model.first_round.encoder
        encode, seen = encoder.encode, set[tuple[int, ...]]()

        def noting(ids: Any, positions: Any, mask: Any, seen: Any = seen, encode: Any = encode) -> Any:
            seen.add(mask.shape[1:])
            return encode(ids, positions, mask)

        monkeypatch.setattr(encoder, "encode", noting)
        workload()
        lengths[phase] = seen
    assert lengths == {"NER": {(1024, 1024)}, "RE": {(288, 288)}}


def test_neighbours_are_of_one_size_and_strata_of_several(corpus: Corpus) -> None:
    sentences = corpus.sentences("train")
    words = sorted(len(sentence.words) for sentence in sentences)
    low, high = ([len(sentence.words) for sentence in block] for block in neighbours(sentences, "NER", 2, 3))
    assert (low[1], high[1]) == (words[len(words) // 4], words[3 * len(words) // 4])
    assert max(low) - min(low) <= 1
    assert max(high) - min(high) <= 1
    (related,) = neighbours(sentences, "RE", 1, 5)
    assert len(related) == 5
    assert all(len(sentence.entities) > 1 for sentence in related)


@pytest.mark.skipif(not SCIERC.is_dir(), reason="shared/data/scierc is not there")
@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_inference_is_measured_on_sentences_as_large_as_all(phase: Phase) -> None:
    """By what PL-Marker's shapes cost, which is a pass a pack of 256 spans (NER) or a subject (RE)."""

    def passes(sentence: Sentence) -> int:
        if phase == "RE":
            return len({entity.span for entity in sentence.entities})
        length = len(sentence.words)
        return math.ceil(sum(max(0, length - longer) for longer in range(8)) / PL_MARKER["NER"].pairs)

    sentences = benchmark_corpus().sentences("test")
    blocks = neighbours(sentences, phase, *BLOCKS[phase, "inference"])
    every = [count for sentence in sentences if (count := passes(sentence)) > (phase == "RE")]
    chosen = [passes(sentence) for block in blocks for sentence in block]
    assert statistics.mean(chosen) == pytest.approx(statistics.mean(every), rel=0.1)


@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_training_is_one_step(phase: str) -> None:
    case = next(case for case in CASES if (case.phase, case.step) == (phase, "training"))
    corpus = benchmark_corpus()
    blocks = neighbours(corpus.sentences("test"), case.phase, *BLOCKS[case.phase, case.step])
    task = Workload(case, corpus, blocks, batch_size=BATCH).task
    assert BATCH // 5 < task.num_examples <= BATCH


def test_one_by_one_predicts_what_a_block_does(corpus: Corpus) -> None:
    """One after the other, though: that is what the row is for."""
    cases = [c for c in CASES if (c.phase, c.step, c.representation) == ("NER", "inference", "annotate")]
    blocks = neighbours(corpus.sentences("train"), "NER", 2, 3)
    sizes = {
        case.variant: [len(block) for block in Workload(case, corpus, blocks, batch_size=4).blocks]
        for case in cases
    }
    assert sizes["early-filter"] == [3, 3]
    assert sizes["early-filter, one by one"] == [1] * 6


def test_what_takes_turns_is_led_by_its_padded_case_in_each_precision() -> None:
    cases = [*speed_cases(["tiny"], ["fp32", "bf16"]), *preset_cases(["first"], ["fp32", "bf16"])]
    groups = [list(group) for _, group in groupby(cases, key=lambda case: case.group)]
    assert len(groups) == len({case.group for case in cases}) == 6
    for group in groups:
        alike = {precision: [*cases] for precision, cases in groupby(group, key=lambda case: case.precision)}
        assert list(alike) == ["fp32", "bf16"]
        assert all(
            [case.variant == "padded" for case in cases] == [True] + [False] * (len(cases) - 1)
            for cases in alike.values()
        )


def test_precisions_share_a_model(corpus: Corpus) -> None:
    """A batch of padded steps in both, each with its own moments, would not fit this machine."""
    case = next(case for case in CASES if (case.phase, case.step) == ("RE", "training"))
    workload = Workload(case, corpus, [corpus.sentences("train")[:2]], batch_size=4)
    other = workload.of(replace(case, precision="bf16"))
    assert other.task.model is workload.task.model
    assert [run.task.config.training.precision for run in (workload, other)] == ["fp32", "bf16"]
    weight = workload.task.model.first_round.encoder.layers[0].attention.self.query.weight
    before = weight.clone()
    other()
    assert not weight.equal(before)


class _WeightCasts(TorchDispatchMode):
    """Counts the casts of a model's weights."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.count = 0
        self._weights = {weight.data_ptr() for weight in model.parameters()}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += func is torch.ops.aten._to_copy.default and args[0].data_ptr() in self._weights
        return func(*args, **(kwargs or {}))


def test_weights_are_cast_before_the_clock_starts(corpus: Corpus) -> None:
    case = next(
        case for case in CASES if (case.phase, case.step, case.precision) == ("RE", "inference", "fp32")
    )
    workload = Workload(
        replace(case, precision="bf16"), corpus, [corpus.sentences("train")[:2]], batch_size=4
    )
    with _WeightCasts(workload.task.model) as alone:
        workload()
    with workload.warmed_up(), _WeightCasts(workload.task.model) as timed:
        workload()
    assert alone.count > 10
    assert timed.count == 0


def test_presets_are_measured_as_studies_train_them() -> None:
    """Every cell of the committed studies that a table of speed shows has its own row."""
    measured = {
        (case.phase, case.variant, inference_settings(case.config(16)))
        for case in preset_cases(["first", "six-layer"], ["fp32", "bf16"])
    }
    studies = ("scierc-first", "scierc-six-layer", "scierc-minilm", "scierc-representations")
    cells = [cell for name in studies for cell in expand(load_study(name))]
    shown = [
        cell.config
        for cell in cells
        if cell.config is not None and (cell.is_base or cell.factor in ("method", "representation"))
    ]
    assert len(shown) > 20
    for config in (*shown, *map(as_pl_marker, shown)):
        assert (config.phase, arrangement(config), inference_settings(config)) in measured


def test_the_arrangement_is_the_one_that_runs(corpus: Corpus) -> None:
    ran = {}
    for case in CASES:
        if case.step == "inference" and case.variant not in ("padded", "dense"):
            first_round = Workload(case, corpus, (), batch_size=4).task.model.first_round
            ran[case] = first_round.two_pass or case.representation == "marker"
    assert all(ran.values())
    assert all(arrangement(case.config(4)) == case.variant.split(",")[0] for case in ran)


def test_a_bar_tells_whether_it_is_met() -> None:
    assert str(Bar("speed", 3.5, 3.6)).endswith("| 3.60 | met |")
    assert str(Bar("speed", 3.5, 3.4)).endswith("**missed** |")
    assert str(Bar("memory", 0.5, 0.4, at_most=True)).endswith("met |")
    assert "not measured" in str(Bar("memory", 0.5, None))
    assert slug("AMD EPYC avx512_bf16") == "amd-epyc-avx512-bf16"


@pytest.mark.slow
def test_a_quick_run_writes_rows_that_the_analysis_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    try:
        main(["--quick", "--out", str(tmp_path)])
    finally:
        torch.set_num_threads(threads)
    table, text = map(Path, capsys.readouterr().out.split())
    rows = read_speeds(table)
    assert len(rows) == len(CASES)
    assert {row.variant for row in rows} >= {"padded", "dense", "two-pass", "early-filter"}
    assert any(row.peak_mib is not None for row in rows)
    assert {row.layers for row in rows} == {2}
    assert "NER inference, two-pass, against padded | ≥ 3.5" in text.read_text(encoding="utf-8")
