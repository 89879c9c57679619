"""Which setting mattered in a search, where one did and where none did."""

import pytest

from lai_net.errors import InputError
from tune.search.optuna_view import importances
from tune.search.plan import plan_search
from tune.search.state import Search
from tune.spec.study import load_study

STUDY = """
name = "s"
seeds = [1]
[[datasets]]
name = "demo"
[datasets.ner]
preset = "demo-ner"
[search]
phase = "NER"
[search.space]
"graph.direction" = { choice = ["paper", "gdpnet"] }
"graph.layers" = { int = [1, 4] }
"graph.heads" = { choice = [1, 2, 4] }
[search.scheduler]
name = "none"
"""


def shares(folder, score) -> dict[str, float]:
    (folder / "s.toml").write_text(STUDY)
    plan = plan_search(load_study(folder / "s.toml"))
    search = Search(plan.rules)
    for number, params in enumerate(plan.space.combinations()):
        search.suggest(params=params, config_id=f"c{number}", trials=[(1, f"t{number}")], known=())
        search.done(number=number, seed=1, score=score(params))
    return importances(plan, search)


def test_setting_that_makes_the_score_comes_first_with_nearly_all(tmp_path):
    found = shares(tmp_path, lambda params: 0.1 * params["graph.layers"])
    assert next(iter(found)) == "graph.layers"
    assert found["graph.layers"] > 0.9


def test_equal_scores_are_no_importances(tmp_path):
    with pytest.raises(InputError, match=r"all 24 complete configs score 0.5: no setting matters"):
        shares(tmp_path, lambda _: 0.5)
