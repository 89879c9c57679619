"""RE: how two directions are joined, PL-Marker's head, and the types of objects."""

import itertools
import json
import random
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lai_net.active_settings import active_settings
from lai_net.config import HeadConfig, TrialConfig
from lai_net.corpora.loading import load_corpus
from lai_net.errors import InputError
from lai_net.extractor import LaiNet
from lai_net.inputs.ner_inputs import ner_batch
from lai_net.inputs.re_inputs import ReBatch, candidate_entities, re_batch
from lai_net.model.re_model import ReOutput
from lai_net.pipeline import evaluate_trial, train_trial
from lai_net.preset import load_preset
from lai_net.schema import Corpus, Entity, Labels, Relation, Sentence, Span
from lai_net.settings import with_settings
from lai_net.streams import Streams
from lai_net.trained_model import load_model
from lai_net.training.ner_task import NerTask
from lai_net.training.re_task import RankedTriple, ReTask, joint_class, without_overlapping_triples
from tests.configs import config_with

BOTH = HeadConfig(symmetric_rule="both", relation_threshold=0.3)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """The first documents of the embedded corpus."""
    whole = load_corpus("embedded", name="embedded")
    splits = {"train": whole.splits["train"][:2], "dev": whole.splits["dev"][:5]}
    return Corpus(name="small", splits=splits, labels=whole.labels)


def config_of(encoder: str, **settings: object) -> TrialConfig:
    common = {
        "encoder.name": encoder, "graph.layers": 0, "training.epochs": 1, "training.encoder_lr": 0.0,
        "training.head_lr": 1e-12,
    }  # fmt: skip
    return config_with("RE", common, **settings)


def task_of(config: TrialConfig, corpus: Corpus) -> ReTask:
    device = torch.device("cpu")
    return ReTask(config, corpus.labels, Streams(1, device), device, corpus.sentences("train"))


def read(task: ReTask, count: int = 4) -> tuple[ReBatch, ReOutput]:
    batch = re_batch(task.examples[:count], task.tokenizer.pad_id)
    with torch.no_grad():
        return batch, task.model.eval()(batch, task.streams)


@pytest.mark.parametrize(
    ("forward", "backward", "by_sum", "by_both"),
    [
        ([0.1, 0.5, 0.4], [0.1, 0.4, 0.5], 1, 1),
        ([0.0, 0.9, 0.1], [0.6, 0.2, 0.2], 1, 0),
        ([0.6, 0.35, 0.05], [0.65, 0.34, 0.01], 0, 1),
        ([0.2, 0.4, 0.4], [0.1, 0.35, 0.55], 2, 2),
        ([0.9, 0.05, 0.05], [0.9, 0.05, 0.05], 0, 0),
        ([0.4, 0.3, 0.3], [0.4, 0.3, 0.3], 0, 0),
    ],
    ids=[
        "agreed",
        "one direction only",
        "both, though none is likelier",
        "the likelier of two",
        "none",
        "at tau",
    ],
)
def test_joint_class(forward: list[float], backward: list[float], by_sum: int, by_both: int) -> None:
    there, back = torch.tensor(forward).log(), torch.tensor(backward).log()
    assert joint_class(there, back, HeadConfig()) == by_sum
    assert joint_class(there, back, BOTH) == by_both


@pytest.mark.parametrize(("threshold", "count"), [(0.0, "all"), (0.999, "none")])
def test_the_threshold_decides_which_pairs_are_related(
    tiny_encoder: str, corpus: Corpus, threshold: float, count: str
) -> None:
    config = config_of(tiny_encoder, head__symmetric_rule="both", head__relation_threshold=threshold)
    sentences = corpus.sentences("dev")
    found = sum(len(item.relations) for item in task_of(config, corpus).predict(sentences).sentences)
    sizes = [len(candidate_entities(sentence)) for sentence in sentences]
    assert found == (sum(size * (size - 1) // 2 for size in sizes) if count == "all" else 0)


def test_the_linear_head_is_the_sum_of_two_layers_on_markers(tiny_encoder: str, corpus: Corpus) -> None:
    task = task_of(config_of(tiny_encoder, head__kind="linear", input__annotations=False), corpus)
    batch, output = read(task)
    model = task.model
    with torch.no_grad():
        reading = model.first_round.read(_text(batch))
        marked = model.first_round.mark(reading, batch.bounds, batch.valid)
    of_subject, of_object = model.shortcut
    for row in range(len(batch.bounds)):
        start, end = batch.subject_bounds[row].tolist()
        subject = torch.cat([marked.text[row, start], marked.text[row, end]])
        for column in batch.valid[row].nonzero().flatten().tolist():
            levitated = marked.pairs[row, column, 2:].flatten()
            expected = of_subject(subject) + of_object(levitated)
            torch.testing.assert_close(output.pair_logits[row, column], expected, atol=1e-5, rtol=0)
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert names == {"first_round", "shortcut"}


def _text(batch: ReBatch):
    from lai_net.model.readings import Text

    return Text(batch.ids, batch.ids_valid)


def test_the_loss_on_types_is_added_for_objects_with_a_known_type(tiny_encoder: str, corpus: Corpus) -> None:
    task = task_of(config_of(tiny_encoder, head__object_typing="loss"), corpus)
    batch, output = read(task)
    types = list(corpus.labels.entities)
    example = task.examples[0]
    entities = candidate_entities(corpus.sentences("train")[example.sentence])
    assert [types[i] for i in example.types] == [entities[i].type for i in example.objects]
    pairs = F.cross_entropy(output.pair_logits[batch.valid], batch.targets[batch.valid])
    typed = F.cross_entropy(output.type_logits[batch.valid], batch.types[batch.valid])
    assert task.model.loss(output, batch).item() == pytest.approx((pairs + typed).item(), abs=1e-6)
    bare = re_batch([example], task.tokenizer.pad_id)
    bare.types.fill_(-1)
    with torch.no_grad():
        unknown = task.model(bare, task.streams)
    expected = F.cross_entropy(unknown.pair_logits[0], bare.targets[0])
    assert task.model.loss(unknown, bare).item() == pytest.approx(expected.item(), abs=1e-6)


def test_types_are_those_of_the_summed_word_of_all_subjects(tiny_encoder: str, corpus: Corpus) -> None:
    task = task_of(config_of(tiny_encoder, head__object_typing="types"), corpus)
    sentence = max(corpus.sentences("dev"), key=lambda item: len(candidate_entities(item)))
    given = candidate_entities(sentence)
    assert len(given) > 2
    examples, _ = task._read([sentence])
    total = torch.zeros(len(given), len(task.types))
    with torch.no_grad():
        for example in examples:
            output = task.model.eval()(re_batch([example], task.tokenizer.pad_id), task.streams)
            total[example.objects] += output.type_logits[0].log_softmax(-1)
    (found,) = task.predict([sentence]).sentences
    assert [entity.type for entity, _ in found.entities] == [task.types[i] for i in total.argmax(-1).tolist()]
    assert [entity.span for entity, _ in found.entities] == [entity.span for entity in given]
    for relation, _ in found.relations:
        assert {relation.subject, relation.object} <= {entity for entity, _ in found.entities}
    (kept,) = task.predict([sentence], typed=False).sentences
    assert [entity for entity, _ in kept.entities] == given


def test_a_sentence_of_one_entity_keeps_its_type(tiny_encoder: str, corpus: Corpus) -> None:
    task = task_of(config_of(tiny_encoder, head__object_typing="types"), corpus)
    whole = corpus.sentences("dev")[0]
    alone = Sentence(whole.words, whole.entities[:1])
    (found,) = task.predict([alone]).sentences
    assert found.sentence.entities == alone.entities


@pytest.fixture(scope="module")
def trained(tiny_encoder: str, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trial of each way to type objects, and an NER trial.

    They stay at their random weights, and relate all pairs: much is predicted and little is right.
    """
    folder = tmp_path_factory.mktemp("trained")
    every = {"head__symmetric_rule": "both", "head__relation_threshold": 0.0}
    for name in ("off", "loss", "types"):
        list(
            train_trial(config_of(tiny_encoder, head__object_typing=name, **every), 1, corpus, folder / name)
        )
    ner = with_settings(
        TrialConfig(phase="NER"),
        {"encoder.name": tiny_encoder, "graph.layers": 0, "filter.stage": "text", "filter.min_kept": 32,
         "filter.cold_epochs": 0, "training.epochs": 1, "training.encoder_lr": 0.0,
         "training.head_lr": 1e-12},
    )  # fmt: skip
    list(train_trial(ner, 1, corpus, folder / "ner"))
    return {path.name: path / "best" for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["loss", "types"])
def test_on_gold_spans_the_types_are_gold_or_the_models(
    name: str, trained: dict[str, Path], corpus: Corpus
) -> None:
    gold = evaluate_trial(trained[name], corpus, "dev")
    typed = evaluate_trial(trained[name], corpus, "dev", typed=True)
    assert (gold.entities, typed.entities) == ("gold", "gold_typed_by_model")
    f1 = {
        (evaluation.entities, score["task"], score["protocol"]): score["f1"]
        for evaluation in (gold, typed)
        for score in evaluation.scores
        if score["averaging"] == "micro"
    }
    for protocol in ("pure", "plmarker"):
        assert f1["gold", "RE+", protocol] == f1["gold", "RE", protocol] > 0
        assert f1["gold_typed_by_model", "RE", protocol] == f1["gold", "RE", protocol]
        assert f1["gold_typed_by_model", "RE+", protocol] < f1["gold", "RE+", protocol]


def test_with_types_the_relations_between_predicted_entities_take_them(
    trained: dict[str, Path], corpus: Corpus
) -> None:
    by_loss, by_types = load_model(trained["loss"]), load_model(trained["types"])
    ner, sentences = load_model(trained["ner"]), corpus.sentences("dev")
    found = [LaiNet(ner, re).predict(sentences).sentences for re in (by_loss, by_types)]
    spans = [[[entity.span for entity, _ in item.entities] for item in side] for side in found]
    assert spans[0] == spans[1]
    predicted = [item.sentence.entities for item in ner.task.predict(sentences).sentences]
    assert [item.sentence.entities for item in found[0]] == predicted
    assert [item.sentence.entities for item in found[1]] != predicted
    evaluation = evaluate_trial(trained["types"], corpus, "dev", upstream_dir=trained["ner"])
    assert evaluation.entities == "predicted"


def test_gold_spans_are_typed_by_the_ner_model_where_re_types_none(
    trained: dict[str, Path], corpus: Corpus
) -> None:
    gold = evaluate_trial(trained["off"], corpus, "dev")
    typed = evaluate_trial(trained["off"], corpus, "dev", upstream_dir=trained["ner"], typed=True)
    predicted = evaluate_trial(trained["off"], corpus, "dev", upstream_dir=trained["ner"])
    labels = [evaluation.entities for evaluation in (gold, typed, predicted)]
    assert labels == ["gold", "gold_typed_by_model", "predicted"]
    f1 = {
        (evaluation.entities, score["task"]): score["f1"]
        for evaluation in (gold, typed, predicted)
        for score in evaluation.scores
        if (score["averaging"], score["protocol"]) == ("micro", "plmarker")
    }
    assert f1["gold_typed_by_model", "RE"] == f1["gold", "RE"] > 0
    assert f1["gold_typed_by_model", "RE+"] < f1["gold", "RE+"]
    assert f1["predicted", "RE"] != f1["gold", "RE"]
    again = evaluate_trial(trained["off"], corpus, "dev", upstream_dir=trained["ner"], typed=True)
    assert again == typed, "from the types that were kept beside the NER model"


def test_the_types_are_the_likeliest_whatever_the_filter_says(
    trained: dict[str, Path], corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load_model(trained["ner"]).task
    assert isinstance(task, NerTask)
    too_long = Sentence(("w",) * 12, (Entity(Span(0, 12), task.types[0]),))
    sentences = [*corpus.sentences("dev"), too_long]
    narrow = {"filter.min_kept": 0, "filter.max_kept": 1}
    task.model.config = with_settings(task.model.config, narrow)
    found = task.with_types(sentences)
    examples, _ = task._read(sentences)
    batch = ner_batch(examples, task.tokenizer.pad_id)
    monkeypatch.setattr(task.model, "_choice", lambda *_, **__: batch.valid)
    with torch.no_grad():
        output = task.model.eval()(batch, task.streams)
    for row, (sentence, typed) in enumerate(zip(sentences[:-1], found, strict=False)):
        expected = {}
        for column, index in enumerate(output.kept[row].tolist()):
            if output.kept_valid[row, column]:
                start, end = examples[row].spans[index].tolist()
                number = int(output.class_logits[row, column, 1:].argmax())
                expected[Span(start, end)] = task.types[number]
        spans = sorted({entity.span for entity in sentence.entities})
        assert typed.entities == tuple(Entity(span, expected[span]) for span in spans)
    assert found[-1].entities == (Entity(Span(0, 12), ""),)


def test_only_an_ner_model_of_the_corpus_gives_entities(trained: dict[str, Path], corpus: Corpus) -> None:
    with pytest.raises(InputError, match="a model of phase NER is needed, but it is of RE"):
        evaluate_trial(trained["off"], corpus, "dev", upstream_dir=trained["loss"])
    more = Labels(
        entities={**corpus.labels.entities, "Other": "other"},
        relations=corpus.labels.relations,
        symmetric=corpus.labels.symmetric,
    )
    other = Corpus(name="other", splits={"dev": corpus.splits["train"]}, labels=more)
    with pytest.raises(InputError, match="knows no entity type 'Other'; give an NER model of other"):
        evaluate_trial(trained["off"], other, "dev", upstream_dir=trained["ner"], typed=True)


def naively_without_overlaps(found: list[RankedTriple]) -> list[RankedTriple]:
    """Word by word: of two that clash the likelier stays, the likeliest of all first."""
    left, kept = list(found), []
    while left:
        best = max(left, key=lambda item: item[0])
        kept.append(best)

        def clashes(item: RankedTriple, best: RankedTriple = best) -> bool:
            pairs = [(r.subject.span, r.object.span) for r in (item[1], best[1])]
            shared = [
                {*range(a.start, a.end)} & {*range(b.start, b.end)} for a, b in zip(*pairs, strict=True)
            ]
            return item[1].type == best[1].type and all(shared)

        left = [item for item in left if not clashes(item)]
    return [item for item in found if item in kept]


def test_overlapping_triples_are_those_of_a_naive_search() -> None:
    draw = random.Random(0)
    dropped = 0
    for _ in range(300):
        spans = [Span(start := draw.randrange(8), start + draw.randint(1, 3)) for _ in range(8)]
        found = [
            (-draw.random(), Relation(Entity(a, "X"), Entity(b, "X"), draw.choice("RS")), draw.random())
            for a, b in itertools.combinations(dict.fromkeys(spans), 2)
        ]
        expected = naively_without_overlaps(found)
        assert without_overlapping_triples(found) == expected
        dropped += len(found) - len(expected)
    assert dropped > 300


def test_a_config_may_drop_overlapping_triples(trained: dict[str, Path], tiny_encoder: str) -> None:
    task = load_model(trained["off"]).task
    assert isinstance(task, ReTask)
    words = ("one", "two", "three", "four", "five", "six")
    spans = [Span(0, 1), Span(0, 2), Span(3, 5), Span(4, 5)]
    sentence = Sentence(words, tuple(Entity(span, task.types[0]) for span in spans))
    (every,) = task.predict([sentence]).sentences
    task.config = with_settings(task.config, {"head.overlapping_triples": "drop"})
    (some,) = task.predict([sentence]).sentences
    assert set(some.relations) < set(every.relations)
    for (one, _), (other, _) in itertools.combinations(some.relations, 2):
        assert one.type != other.type or not (
            one.subject.span.overlaps(other.subject.span) and one.object.span.overlaps(other.object.span)
        )
    ner = with_settings(TrialConfig(phase="NER"), {"head.overlapping_triples": "drop"})
    assert active_settings(ner) == active_settings(TrialConfig(phase="NER"))
    assert load_preset("plmarker-scierc-re").head.overlapping_triples == "drop"


def test_a_model_that_types_no_entities_says_so(trained: dict[str, Path], corpus: Corpus) -> None:
    with pytest.raises(InputError, match=r"does not type entities; train it with head\.object_typing"):
        evaluate_trial(trained["off"], corpus, "dev", typed=True)


def test_the_model_folder_says_which_way_the_encoder_takes(
    trained: dict[str, Path], tiny_encoder: str, corpus: Corpus, tmp_path: Path
) -> None:
    assert json.loads((trained["off"] / "config.json").read_text())["encoder_passes"] == "two-pass"
    config = config_of(tiny_encoder, input__marker_marker="type", training__batch_size=64)
    list(train_trial(config, 1, corpus, tmp_path))
    for path in (tmp_path / "training.json", tmp_path / "best" / "config.json"):
        assert json.loads(path.read_text())["encoder_passes"] == "dense"


def test_a_linear_head_takes_no_graph() -> None:
    with pytest.raises(
        InputError, match=r'graph\.layers = 0 with head\.kind = "linear" must hold, but got 2'
    ):
        with_settings(TrialConfig(phase="RE"), {"head.kind": "linear"})
