"""Every setting changes what is computed where it acts, and no bit where it is left out of the identity."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lai_net.active_settings import active_settings, idle_settings
from lai_net.config import Phase, TrialConfig
from lai_net.errors import InputError
from lai_net.pipeline import train_trial
from lai_net.schema import Corpus, Document, Entity, Relation, Sentence, Span
from lai_net.settings import setting_names, with_settings
from lai_net.trained_model import load_model

CONTEXTS: dict[str, dict[str, Any]] = {
    "NER": {},
    "NER, by rank": {"filter.threshold": 0.0},
    "NER, early": {"filter.stage": "text", "filter.threshold": 0.0, "filter.cold_epochs": 0},
    "NER, bare": {"filter.enabled": False, "graph.layers": 0, "encoder.num_layers": 1},
    "NER, Full": {"input.attention_mask": "full"},
    "NER, enumerate": {"input.annotations": False},
    "NER, vanilla": {"input.representation": "vanilla"},
    "NER, embeddings": {"encoder.freeze": "embeddings"},
    "NER, all": {"encoder.freeze": "all"},
    "NER, features": {"encoder.freeze": "features"},
    "RE": {"graph.layers": 1},
    "RE, all pairs": {"head.symmetric_rule": "both", "head.relation_threshold": 0.0, "graph.layers": 0},
    "RE, linear": {"head.kind": "linear", "graph.layers": 0},
    "RE, marker": {"input.representation": "marker"},
}
ACTS: dict[str, tuple[Any, str]] = {
    "encoder.name": ("minilm", "NER, bare"),
    "encoder.num_layers": (1, "NER"),
    "encoder.freeze": ("all", "NER"),
    "input.representation": ("enumerate", "NER"),
    "input.annotations": (False, "NER"),
    "input.attention_mask": ("vis", "NER"),
    "input.max_text_tokens": (9, "NER"),
    "input.max_span_words": (2, "NER"),
    "input.max_candidates": (5, "NER, Full"),
    "input.context_tokens": (30, "NER"),
    "input.text_sees_markers": (True, "NER"),
    "input.annotations_see_markers": (True, "NER"),
    "input.marker_marker": ("type", "NER"),
    "filter.enabled": (False, "NER"),
    "filter.stage": ("text", "NER"),
    "filter.ratio": (0.9, "NER, by rank"),
    "filter.min_kept": (2, "NER"),
    "filter.max_kept": (3, "NER, by rank"),
    "filter.threshold": (0.01, "NER"),
    "filter.cold_epochs": (0, "NER"),
    "filter.cold_negatives": (3, "NER"),
    "graph.layers": (3, "NER"),
    "graph.heads": (2, "NER"),
    "graph.dropout": (0.5, "NER"),
    "graph.sigma_min": (0.5, "NER"),
    "graph.direction": ("gdpnet", "NER"),
    "graph.normalization": ("symmetric", "NER"),
    "head.dropout": (0.5, "NER"),
    "head.shortcut": (False, "RE"),
    "head.kind": ("linear", "NER, bare"),
    "head.symmetric_rule": ("sum", "RE, all pairs"),
    "head.relation_threshold": (0.9, "RE, all pairs"),
    "head.object_typing": ("loss", "RE"),
    "head.overlapping_triples": ("drop", "RE, all pairs"),
    "training.epochs": (3, "NER"),
    "training.batch_size": (2, "NER"),
    "training.encoder_lr": (1e-3, "NER"),
    "training.head_lr": (1e-3, "NER"),
    "training.warmup": (0.5, "NER"),
    "training.weight_decay": (0.5, "NER"),
    "training.clip": (0.01, "NER"),
    "training.negatives": (4, "NER"),
    "training.precision": ("bf16", "NER"),
    "training.selection": ("test", "RE, all pairs"),
    "training.selection_averaging": ("macro", "RE, all pairs"),
    "training.selection_entities": ("of-an-ner-trial", "RE, all pairs"),
    "training.micro_batch_tokens": (30, "NER"),
}
"""A value that is not the base's, and where it acts."""
SPARING = {
    "training.activation_checkpointing": True,  # test_training_memory: it holds less
    "training.compile": True,  # test_compiled_passes and test_training_folder: it acts on CUDA alone
}
"""Settings that change no number anywhere."""

FOLDED = {*SPARING, "input.representation", "input.annotations", "filter.cold_epochs"}
"""Settings of which other values say the same, or which have an effect that is no number."""

Outcome = Callable[[TrialConfig], tuple[Any, ...]]


@pytest.fixture(scope="module")
def small(corpus: Corpus) -> Corpus:
    """Five sentences a split; each first entity has a longer one of its type and relations over it."""
    splits = {
        name: (Document("d", tuple(map(overlapped, documents[0].sentences + documents[1].sentences))),)
        for name, documents in corpus.splits.items()
    }
    return Corpus(name="small", splits=splits, labels=corpus.labels)


def overlapped(sentence: Sentence) -> Sentence:
    first = min(sentence.entities)
    longer = Entity(Span(first.span.start, first.span.end + 1), first.type)
    relations = [
        Relation(longer, relation.object, relation.type)
        for relation in sentence.relations
        if relation.subject == first
    ]
    return replace(
        sentence,
        entities=(*sentence.entities, longer),
        relations=(*sentence.relations, *relations),
    )


@pytest.fixture(scope="module")
def outcome(small: Corpus, tmp_path_factory: pytest.TempPathFactory, tiny_encoder: str) -> Outcome:
    """All numbers of a training: losses, scores by epoch, weights of the best, what it predicts."""
    known: dict[TrialConfig, tuple[Any, ...]] = {}
    ner = tmp_path_factory.mktemp("ner")
    list(train_trial(base(tiny_encoder, "NER, bare"), 1, small, ner))

    def find(config: TrialConfig) -> tuple[Any, ...]:
        if config not in known:
            folder = tmp_path_factory.mktemp("trial")
            joined = None if config.training.selection_entities == "gold" else ner / "best"
            reports = list(train_trial(config, 1, small, folder, upstream_dir=joined))
            predicted = load_model(folder / "best").task.predict(small.sentences("test")).sentences
            weights = (folder / "best" / "model.safetensors").read_bytes()
            known[config] = [(r.loss, r.dev, r.filter_recall) for r in reports], predicted, weights
        return known[config]

    return find


def base(encoder: str, context: str) -> TrialConfig:
    common = {"encoder.name": encoder, "training.epochs": 2, "training.batch_size": 3}
    config = TrialConfig(phase=context.split(",")[0])  # type: ignore[arg-type]
    return with_settings(config, common | CONTEXTS[context])


def test_no_setting_is_left_out_here() -> None:
    assert sorted([*ACTS, *SPARING]) == sorted(setting_names())


@pytest.mark.parametrize("setting", ACTS)
def test_a_setting_acts(setting: str, outcome: Outcome, tiny_encoder: str) -> None:
    value, context = ACTS[setting]
    config = base(tiny_encoder, context)
    changed = with_settings(config, {setting: value})
    assert active_settings(changed) != active_settings(config)
    assert outcome(changed) != outcome(config)


@pytest.mark.parametrize("context", CONTEXTS)
def test_what_does_not_act_in_a_config_changes_no_bit(
    context: str, outcome: Outcome, tiny_encoder: str
) -> None:
    """All such settings at once."""
    config = base(tiny_encoder, context)
    changed, idle = config, []
    for setting, value in ({name: value for name, (value, _) in ACTS.items()} | SPARING).items():
        try:
            other = with_settings(changed, {setting: value})
        except InputError:
            continue  # refused
        if other != changed and active_settings(other) == active_settings(config):
            changed = other
            idle.append(setting)
    assert "training.activation_checkpointing" in idle
    assert set(idle) - FOLDED <= idle_settings(changed).keys()
    assert idle_settings(changed).keys() <= set(setting_names())
    assert outcome(changed) == outcome(config), idle


@pytest.mark.parametrize(
    ("phase", "settings", "idle"),
    [
        ("NER", {"graph.layers": 0}, {"graph.heads": "graph.layers = 0", "graph.layers": ""}),
        ("NER", {}, {"head.shortcut": "the phase is NER", "head.symmetric_rule": "the phase is NER"}),
        ("RE", {}, {"filter.ratio": "the phase is RE", "training.negatives": "the phase is RE"}),
        ("RE", {}, {"input.max_span_words": "the phase is RE"}),
        ("NER", {"filter.enabled": False}, {"filter.ratio": "filter.enabled = false", "filter.enabled": ""}),
        ("NER", {}, {"input.max_candidates": "no marker is seen by others, so packs change no number"}),
        ("NER", {"input.attention_mask": "full"}, {"input.max_candidates": "", "input.attention_mask": ""}),
        ("NER", {"input.representation": "enumerate", "input.attention_mask": "vis"},
         {"input.attention_mask": "without annotations Vis. is Inv."}),
        ("NER", {"input.representation": "enumerate", "input.attention_mask": "full"},
         {"input.attention_mask": ""}),
        ("NER", {"input.representation": "vanilla"},
         {"input.attention_mask": 'input.representation = "vanilla"'}),
        ("RE", {"input.representation": "marker"}, {"input.annotations": 'input.representation = "marker"'}),
        ("NER", {"input.representation": "vanilla", "input.annotations": False},
         {"input.annotations": 'input.representation = "vanilla"'}),
        ("NER", {"input.representation": "enumerate", "input.annotations": False},
         {"input.annotations": 'input.representation = "enumerate"'}),
        ("NER", {"input.annotations": False}, {"input.annotations": "", "input.representation": ""}),
        ("NER", {"encoder.freeze": "features"},
         {"training.activation_checkpointing": 'encoder.freeze = "features"'}),
        ("NER", {"encoder.freeze": "all"}, {"training.activation_checkpointing": ""}),
        ("RE", {"encoder.freeze": "all"}, {"training.encoder_lr": 'encoder.freeze = "all"'}),
    ],
)  # fmt: skip
def test_what_is_idle_says_why(phase: Phase, settings: dict[str, Any], idle: dict[str, str]) -> None:
    """Where the reason is empty, the setting acts."""
    found = idle_settings(with_settings(TrialConfig(phase=phase), settings))
    assert {name: found.get(name, "") for name in idle} == idle
