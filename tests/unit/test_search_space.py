"""The space: every kind of domain, what exists where, what is refused."""

import math
import random

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from lai_net.active_settings import active_settings
from lai_net.config import TrialConfig
from lai_net.errors import InputError
from lai_net.settings import setting_names, with_settings
from tune.search.sampler import distribution
from tune.search.space import GATES, Space, make_space
from tune.spec.search import Domain

BASE = TrialConfig(phase="NER")


def space_of(phase: str = "NER", **domains) -> Space:
    named = {name.replace("__", "."): Domain.model_validate(value) for name, value in domains.items()}
    return make_space(TrialConfig(phase=phase), named)


def draw(space: Space, seed: int = 0) -> dict:
    """Uniform draws, as a sampler would make them."""
    stream = random.Random(seed)

    def pick(dimension):
        if dimension.values is not None:
            return stream.choice(dimension.values)
        return stream.uniform(*dimension.ends)

    return space.draw(pick)


@pytest.mark.parametrize(
    ("name", "domain", "expected"),
    [
        ("graph.dropout", {"uniform": (0.0, 0.5)}, FloatDistribution(0.0, 0.5)),
        ("training.head_lr", {"log": (1e-4, 1e-2)}, FloatDistribution(1e-4, 1e-2, log=True)),
        ("training.batch_size", {"log": (4.0, 64.0)}, IntDistribution(4, 64, log=True)),
        ("training.micro_batch_tokens", {"log": (500, 4000)}, IntDistribution(500, 4000, log=True)),
        ("graph.layers", {"int": (0, 4)}, IntDistribution(0, 4)),
        ("input.attention_mask", {"choice": ("inv", "full")}, CategoricalDistribution(("inv", "full"))),
        ("filter.enabled", {"choice": (True, False)}, CategoricalDistribution((True, False))),
    ],
)
def test_every_domain_in_optunas_words(name, domain, expected):
    (dimension,) = make_space(BASE, {name: Domain.model_validate(domain)}).dimensions
    assert distribution(dimension) == expected


def test_heads_exist_with_layers_alone_and_a_filters_settings_with_a_filter():
    space = space_of(
        graph__layers={"int": (0, 1)},
        graph__heads={"choice": (1, 2, 4)},
        filter__enabled={"choice": (True, False)},
        filter__ratio={"uniform": (0.3, 1.0)},
    )
    seen = set()
    for seed in range(60):
        params = draw(space, seed)
        assert ("graph.heads" in params) == (params["graph.layers"] > 0)
        assert ("filter.ratio" in params) == params["filter.enabled"]
        config = space.config(params)
        assert config.graph.layers == params["graph.layers"]
        seen.add((params["graph.layers"], params["filter.enabled"]))
    assert len(seen) == 4


def test_a_pack_has_a_size_where_markers_see_others_and_a_threshold_where_both_directions_count():
    space = space_of(
        "RE",
        input__marker_marker={"choice": ("own", "type")},
        input__max_candidates={"int": (2, 9)},
        head__symmetric_rule={"choice": ("sum", "both")},
        head__relation_threshold={"uniform": (0.1, 0.9)},
    )
    for params in (draw(space, seed) for seed in range(20)):
        assert ("input.max_candidates" in params) == (params["input.marker_marker"] == "type")
        assert ("head.relation_threshold" in params) == (params["head.symmetric_rule"] == "both")


def acts(name: str, active: dict) -> bool:
    section, key = name.split(".")
    return key in active.get(section, {})


@pytest.mark.parametrize("phase", ["NER", "RE"])
def test_which_settings_act_depends_on_the_gates_alone(phase):
    """If this fails, a setting was added that decides about others: it belongs into GATES."""
    base, stream = TrialConfig(phase=phase), random.Random(3)
    gate_values = {
        "encoder.freeze": ("none", "all", "features"),
        "filter.enabled": (True, False), "graph.layers": (0, 2), "input.annotations": (True, False),
        "input.attention_mask": ("inv", "vis", "full"), "filter.cold_epochs": (None, 0, 3),
        "input.representation": ("vanilla", "enumerate", "annotate"),
        "input.text_sees_markers": (False, True), "input.annotations_see_markers": (False, True),
        "input.marker_marker": ("own", "type", "all"),
        "head.kind": ("fc", "linear"), "head.symmetric_rule": ("sum", "both"),
    }  # fmt: skip
    others = {
        "encoder.num_layers": (None, 1),
        "filter.stage": ("marker", "text"),
        "head.shortcut": (True, False), "training.precision": ("fp32", "bf16"),
        "training.negatives": (0, 5), "graph.heads": (1, 2), "filter.cold_negatives": (0, 1),
        "graph.direction": ("gdpnet",), "graph.normalization": ("symmetric",), "input.max_candidates": (2, 9),
        "head.object_typing": ("loss", "types"), "head.relation_threshold": (0.3, 0.4),
    }  # fmt: skip
    assert set(gate_values) == set(GATES)
    for _ in range(200):
        gates = {name: stream.choice(choices) for name, choices in gate_values.items()}
        if gates["head.kind"] == "linear" and gates["graph.layers"]:
            continue  # do not go together
        acting = set()
        for _ in range(4):
            drawn = {name: stream.choice(choices) for name, choices in others.items()}
            active = active_settings(with_settings(base, {**drawn, **gates}))
            names = [name for name in setting_names() if name not in GATES]
            acting.add(frozenset(name for name in names if acts(name, active)))
        assert len(acting) == 1


def test_cold_negatives_exist_with_a_cold_start_alone():
    space = space_of(
        filter__enabled={"choice": (True, False)},
        filter__cold_epochs={"int": (0, 2)},
        filter__cold_negatives={"choice": (1, 2)},
    )
    assert space.size == 1 + 1 + 2 * 2
    for seed in range(40):
        params = draw(space, seed)
        assert ("filter.cold_epochs" in params) == params["filter.enabled"]
        assert ("filter.cold_negatives" in params) == bool(params.get("filter.cold_epochs"))


def test_the_encoders_rate_exists_where_the_encoder_trains():
    base = with_settings(BASE, {"encoder.freeze": "features"})
    domains = {
        "encoder.freeze": Domain(choice=("features", "none")),
        "training.encoder_lr": Domain(choice=(1e-5, 2e-5)),
    }
    assert make_space(base, domains).size == make_space(BASE, domains).size == 1 + 2


def linear_heads(**layers) -> Space:
    domains = {
        "graph.layers": {"int": (0, 2)},
        "head.kind": {"choice": ("fc", "linear")},
        "graph.heads": {"choice": (1, 2)},
    } | layers
    base = with_settings(BASE, {"graph.layers": 0})
    return make_space(base, {name: Domain.model_validate(value) for name, value in domains.items()})


def test_a_gate_is_drawn_where_a_value_of_it_that_fits_acts():
    space = linear_heads()
    kinds = [{"graph.layers": 0, "head.kind": kind} for kind in ("fc", "linear")]
    heads = [{"graph.layers": layers, "graph.heads": heads} for layers in (1, 2) for heads in (1, 2)]
    assert list(space.combinations()) == [*kinds, *heads]
    assert space.size == 6
    assert space.cold_epochs == 5


def test_gates_that_do_not_go_together_are_drawn_and_nothing_behind_them():
    base = with_settings(BASE, {"filter.stage": "text"})
    domains = {
        "filter.enabled": Domain(choice=(True, False)),
        "input.representation": Domain(choice=("annotate", "vanilla", "marker")),
        "graph.heads": Domain(choice=(1, 2)),
    }
    space = make_space(base, domains)
    (unfit,) = [params for params in space.combinations() if "graph.heads" not in params]
    assert unfit == {"filter.enabled": False, "input.representation": "marker"}
    assert space.size == 2 * 5 + 1
    assert all(draw(space, seed) in list(space.combinations()) for seed in range(30))
    assert max(config.cold_epochs for config in space.extremes) == space.cold_epochs == 5


def test_a_gate_of_which_no_value_fits_is_refused():
    with pytest.raises(InputError, match=r"head.kind never acts in NER here"):
        linear_heads(**{"graph.layers": {"int": (1, 2)}, "head.kind": {"choice": ("linear",)}})


def test_size_counts_what_exists_and_has_no_end_in_a_continuum():
    domains = {
        "graph__layers": {"int": (0, 2)},
        "graph__heads": {"choice": (1, 2, 4)},
        "filter__enabled": {"choice": (True, False)},
    }
    assert space_of(**domains).size == 2 * (1 + 2 * 3)
    assert space_of(**domains, training__head_lr={"log": (1e-4, 1e-2)}).size is None


def test_integers_are_counted_not_listed():
    space = space_of(training__batch_size={"int": (1, 10**15)}, filter__enabled={"choice": (True, False)})
    assert space.size == 2 * 10**15
    assert space_of(training__batch_size={"log": (1, 2_000_000_000)}).size == 2_000_000_000


def test_order_does_not_depend_on_the_file():
    domains = {
        "graph.heads": {"choice": (1, 2)},
        "graph.layers": {"int": (0, 2)},
        "graph.dropout": {"uniform": (0, 0.5)},
    }
    parsed = {name: Domain.model_validate(domain) for name, domain in domains.items()}
    one = make_space(BASE, parsed)
    other = make_space(BASE, dict(reversed(parsed.items())))
    assert one == other
    assert [item.name for item in one.dimensions] == ["graph.layers", "graph.dropout", "graph.heads"]


def test_longest_cold_start_of_a_space():
    assert space_of(graph__layers={"int": (0, 1)}).cold_epochs == 5  # half of 10
    assert space_of(filter__cold_epochs={"int": (1, 7)}).cold_epochs == 7
    assert space_of("RE", graph__layers={"int": (0, 1)}).cold_epochs == 0


def test_encoders_that_may_be_drawn():
    assert space_of(encoder__name={"choice": ("minilm", "other")}).encoder_names == ("minilm", "other")
    assert space_of(graph__layers={"int": (0, 1)}).encoder_names == ("minilm",)


@pytest.mark.parametrize(
    ("phase", "domains", "said"),
    [
        ("NER", {"graph__depth": {"int": (0, 1)}}, "unknown setting 'graph.depth'"),
        ("NER", {"graph__layers": {"uniform": (0.0, 1.0)}}, "graph.layers must be of type int"),
        ("NER", {"graph__dropout": {"uniform": (0.0, 1.0)}}, "0 <= dropout < 1"),
        ("NER", {"graph__layers": {"int": (0, 10**9)}}, "graph.layers: others depend on 1000000001"),
        ("NER", {"training__epochs": {"int": (3, 9)}}, "training.epochs is the same for all"),
        ("NER", {"training__batch_size": {"log": (4.5, 64)}}, "takes integers"),
        ("NER", {"head__shortcut": {"choice": (True, False)}}, "head.shortcut never acts in NER"),
        ("RE", {"filter__enabled": {"choice": (True, False)}}, "filter.enabled never acts in RE"),
        (
            "NER",
            {"input__attention_mask": {"choice": ("inv", "none")}},
            "input.attention_mask must be one of",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_with_its_name(phase, domains, said):
    with pytest.raises(InputError, match=said):
        space_of(phase, **domains)


def test_settings_that_do_not_go_together_are_refused_when_drawn():
    space = space_of(filter__min_kept={"int": (1, 20)}, filter__max_kept={"int": (3, 32)})
    with pytest.raises(InputError, match="min_kept"):
        space.config({"filter.min_kept": 20, "filter.max_kept": 4})
    assert math.prod(len(item.values) for item in space.dimensions) == space.size
