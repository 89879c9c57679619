"""The page: what each cell opens, the command that trains it again, its curves, and that names stay text."""

import base64
import hashlib
import html
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import lai_net.cli
import lai_net.pipeline
from analysis.evidence import collect_evidence
from analysis.frame import read_results
from analysis.page import page_lines
from analysis.report import compose_report
from analysis.retrain import train_command
from analysis.sparklines import draw_sparkline
from analysis.tables.layout import Entry, Grid, Line
from lai_net.active_settings import active_settings
from tune.ledger.ledger import Ledger
from tune.ledger.rows import EvaluationRow, TrialRow
from tune.planning.plan import make_plan
from tune.spec.cells import expand
from tune.spec.identity import evaluation_id
from tune.spec.study import load_study

HOSTILE = "</script><img src=x onerror=alert(1)>'\"&"
STUDY = """
name = "small"
seeds = [3, 4]
[[datasets]]
name = "SciERC"
corpus = "somewhere"
[datasets.ner]
preset = "demo-ner"
set = { "encoder.name" = ENCODER }
[datasets.re]
preset = "demo-re"
set = { "encoder.name" = ENCODER }
[factors]
gcn_layers = [0, 1, 2]
method = ["LAI-Net", "w/o 2nd"]
""".replace("ENCODER", json.dumps(HOSTILE))


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time."""
    monkeypatch.setattr("analysis.report.draw_all", lambda _: ())


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


@pytest.fixture
def ledger(tmp_path: Path, study: Path) -> Path:
    """Base NER and RE of seed 3 completed, NER of seed 4 failed; every text from outside is hostile."""
    path = tmp_path / "ledger.sqlite"
    trials = [
        trial
        for trial in make_plan(load_study(study)).trials
        if trial.config.graph.layers == 1 + (trial.phase == "RE")
    ]
    where = {"device": HOSTILE, "commit": f"{HOSTILE}0123456789", "dirty": False}
    with Ledger.open(path) as opened:
        for trial in trials:
            name = f"{trial.phase}-{trial.seed}"
            row = TrialRow(
                trial_id=name, config_id=trial.spec_id, spec_id=trial.spec_id, dataset=trial.dataset,
                phase=trial.phase, fold=None, seed=trial.seed, config=active_settings(trial.config),
                corpus_id="c", encoder_id="e",
            )  # fmt: skip
            opened.register_trials([row])
            if name == "RE-4":
                continue
            opened.start_attempt(name, 1, where)
            if name == "NER-4":
                opened.finish_attempt(name, 1, "failed", error=f"Traceback\n  a line\nError: {HOSTILE}")
                continue
            for epoch, f1 in ((1, 0.5), (2, 0.7)):
                report = {"dev": {"f1": f1}, "cpu_s": 1.5, "wall_s": 2.0}
                opened.record_epoch(name, 1, epoch, report)
            opened.finish_attempt(name, 1, "completed", evaluations=list(_evaluations(name)))
    return path


def _evaluations(trial: str) -> Any:
    upstream = None if trial.startswith("NER") else trial.replace("RE", "NER")
    for task in ("NER",) if upstream is None else ("RE", "RE+"):
        scores = [
            {
                "task": task,
                "protocol": "pure",
                "averaging": "micro",
                "precision": 0.4,
                "recall": 0.5,
                "f1": 0.6,
            }
        ]
    if upstream is not None:
        scores = [scores[0] | {"task": task} for task in ("RE", "RE+")]
    name = evaluation_id(trial, upstream, "test", "predicted")
    yield EvaluationRow(
        evaluation_id=name, trial_id=trial, upstream_trial_id=upstream, split="test", entities="predicted",
        scores=scores,
    )  # fmt: skip


def evidence_of(study: Path, ledger: Path) -> dict[str, Any]:
    return {item.title: item for item in collect_evidence(read_results(ledger, study))}


def test_equal_configs_share_their_trials(study: Path, ledger: Path) -> None:
    items = evidence_of(study, ledger)
    assert list(items) == [
        "SciERC NER, 0 GCN layers, with filter, mask inv",
        "SciERC NER, 1 GCN layer, 4 heads, with filter, mask inv",
        "SciERC NER, 2 GCN layers, 4 heads, with filter, mask inv",
        "SciERC RE, 0 GCN layers, mask inv",
        "SciERC RE, 1 GCN layer, 4 heads, mask inv",
        "SciERC RE, 2 GCN layers, 4 heads, mask inv",
    ]
    bare = items["SciERC NER, 0 GCN layers, with filter, mask inv"]
    assert {("SciERC", "NER", "gcn_layers", "0"), ("SciERC", "NER", "method", "w/o 2nd")} <= set(bare.cells)
    assert bare.changed == {"graph.layers": 1}
    assert len({item.anchor for item in items.values()}) == len(items)


def test_the_base_of_a_changed_setting_is_named_though_identity_leaves_it_out(
    study: Path, tmp_path: Path
) -> None:
    text = STUDY.replace("[factors]", '[factors]\nmodel = ["LAI-Net", "PL-Marker"]')
    study.write_text(text, encoding="utf-8")
    path = tmp_path / "empty.sqlite"
    Ledger.open(path).close()
    by_cell = {cell: item for item in evidence_of(study, path).values() for cell in item.cells}
    changed = by_cell["SciERC", "NER", "model", "PL-Marker"].changed
    assert changed["head.kind"] == "fc"
    assert changed["filter.enabled"] is True


def test_a_trial_shows_scores_curve_and_what_it_cost(study: Path, ledger: Path) -> None:
    items = evidence_of(study, ledger)
    base = items["SciERC NER, 1 GCN layer, 4 heads, with filter, mask inv"]
    done, failed = base.runs
    assert (done.seed, done.state, done.values["trial_id"]) == (3, "completed", "NER-3")
    assert done.scores == {"NER": pytest.approx((40, 50, 60))}
    assert done.curve == ((1, 50), (2, 70))
    assert (done.cpu_s, done.values["wall_s"], done.values["epochs"]) == (3.0, 4.0, 2)
    assert (failed.seed, failed.state, failed.error) == (4, "failed", f"Error: {HOSTILE}")
    relation = items["SciERC RE, 2 GCN layers, 4 heads, mask inv"]
    assert relation.upstream == base.anchor
    assert set(relation.runs[0].scores) == {"RE", "RE+"}
    assert relation.runs[1].state == "blocked"
    planned = items["SciERC NER, 2 GCN layers, 4 heads, with filter, mask inv"].runs[0]
    assert (planned.state, planned.curve, planned.values["trial_id"]) == ("planned", (), None)


@pytest.mark.parametrize("overlapping", ["keep", "drop"])
def test_the_command_trains_the_very_config_on_the_very_corpus(
    study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, overlapping: str
) -> None:
    trained: list[Any] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lai_net.encoder_files.encoder_id", lambda name: name)
    monkeypatch.setattr(lai_net.pipeline, "train_trial", lambda *words, **_: trained.append(words) or ())
    monkeypatch.setattr(
        "lai_net.train_command.load_corpus",
        lambda source, name, **options: SimpleNamespace(splits=(), source=source, options=options),
    )
    setting = f'annotations = "scierc"\noverlapping_relations = "{overlapping}"'
    study.write_text(STUDY.replace('corpus = "somewhere"', setting), encoding="utf-8")
    loaded = load_study(study)
    for cell in expand(loaded):
        assert cell.config is not None
        line = train_command(loaded.datasets[0], cell.config, seed=7, fold=1)
        assert str(tmp_path) not in line
        done = CliRunner().invoke(lai_net.cli.app, shlex.split(line)[1:])
        assert done.exit_code == 0, done.output
        config, seed, corpus, *_ = trained.pop()
        assert (config, seed, corpus.source) == (cell.config, 7, "CORPUS")
        assert corpus.options == {"annotations": "scierc", "fold": 1, "overlapping_relations": overlapping}


def test_relations_between_found_entities_are_trained_again_with_their_ner(study: Path, ledger: Path) -> None:
    items = evidence_of(study, ledger)
    words = shlex.split(items["SciERC RE, 2 GCN layers, 4 heads, mask inv"].command)
    assert words[words.index("--ner") + 1] == "NER"
    assert "--ner" not in items["SciERC NER, 1 GCN layer, 4 heads, with filter, mask inv"].command
    page = compose_report(str(study), ledger).files["index.html"].decode()
    assert re.search(
        r'<code>NER</code> is the <code>DIR</code> of its <a href="#trials-\w+">NER trial</a> of the '
        r"same seed, trained again, or <code>NER-3</code> while the ledger has its model; ",
        page,
    )
    assert page.count("relations between gold entities; the scores below are not.") == 1
    text = STUDY + '[report]\nentities = "gold"\n'
    study.write_text(text, encoding="utf-8")
    assert not any("--ner" in item.command for item in evidence_of(study, ledger).values())


def test_a_curve_is_drawn_to_scale(study: Path, ledger: Path) -> None:
    runs = evidence_of(study, ledger)["SciERC NER, 1 GCN layer, 4 heads, with filter, mask inv"].runs
    drawing = draw_sparkline(runs, "dev F1")
    assert drawing is not None
    ((name, points),) = drawing.lines
    low, high = drawing.y_ticks[0], drawing.y_ticks[-1]
    assert (name, low.label, high.label) == ("seed 3", "50", "70")
    first, last = drawing.x_ticks
    assert points.split() == [f"{first.at:.1f},{low.at:.1f}"] * 2 + [f"{last.at:.1f},{high.at:.1f}"]
    assert (first.label, last.label) == ("1", "2")
    assert 0 < first.at < last.at < drawing.width
    assert 0 < high.at < low.at < drawing.height
    assert drawing.summary == "Dev F1 by epoch, 1 trial: best 70.00, last 70.00."
    assert draw_sparkline(runs[1:], "dev F1") is None


def test_lines_that_sort_together_have_all_their_labels() -> None:
    entry = (Entry("1"),)
    grid = Grid(
        ("Dataset", "Task"), (), ("F1",),
        (Line(("A", "NER"), entry), Line(("", "paper"), entry, continues=True), Line(("", "RE"), entry)),
    )  # fmt: skip
    groups = [[(line.labels, line.repeats) for line in lines] for lines in page_lines(grid)]
    assert groups == [[(("A", "NER"), 0), (("A", "paper"), 1)], [(("A", "RE"), 1)]]


def test_what_comes_from_outside_is_text(study: Path, ledger: Path) -> None:
    page = compose_report(str(study), ledger).files["index.html"].decode()
    assert HOSTILE not in page
    assert "<img src=x" not in page
    assert page.count(str(html.escape(HOSTILE, quote=False)).split("'")[0]) >= 4, (
        "encoder, device, commit, error"
    )
    assert page.count("<script") == 1
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in html.unescape(policy[1]).split(";"))
    assert (rules["default-src"], rules["img-src"], rules["base-uri"]) == ("'none'", "data:", "'none'")
    assert "connect-src" not in rules
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (source,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert " style=" not in page
    assert " onclick=" not in page


def test_every_link_within_the_page_leads_somewhere(study: Path, ledger: Path) -> None:
    page = compose_report(str(study), ledger).files["index.html"].decode()
    names = re.findall(r' id="([^"]+)"', page)
    assert len(names) == len(set(names))
    targets = set(re.findall(r'<a href="([^"]+)"', page))
    assert any(target.startswith("#trials-") for target in targets)
    assert {target.removeprefix("#") for target in targets} <= set(names)


def test_imported_rows_say_that_they_bring_no_curve(imported: Any, result_row: Any) -> None:
    paths = imported(STUDY, [result_row(0.6, seed=3), result_row(0.5, seed=9, commit="abc")])
    page = compose_report(str(paths.study), paths.ledger).files["index.html"].decode()
    assert (
        page.count("No learning curve: imported without curves (<code>lai import … --curves FILE</code>).")
        == 1
    )
    assert page.count("Imported rows say no more than their factors") == 1
    assert page.count("<code></code> imported") == 2
    assert "trains two of them again and compares" not in page


def test_a_config_tells_how_it_differs_from_its_base(imported: Any, result_row: Any) -> None:
    rows = []
    for seed, loss in ((1, 0.01), (2, 0.03), (3, 0.02)):
        rows += [result_row(0.6, seed=seed), result_row(0.6 - loss, seed=seed, gcn_layers=0, gcn_heads="")]
    paths = imported(STUDY, rows)
    page = html.unescape(compose_report(str(paths.study), paths.ledger).files["index.html"].decode())
    effect = "−2.00 points of F1 (95 % interval −4.48 to +0.48), p = 0.25, after Holm {}, Hedges' g = −1.13"
    assert f"<li>NER, GCN layers 0: {effect.format(0.5)}</li>" in page  # 2 layers are to come
    assert f"<li>NER, Method w/o 2nd: {effect.format(0.25)}</li>" in page


def test_models_and_representations_are_told_apart(imported: Any, result_row: Any) -> None:
    study = """
name = "s"
seeds = [1]
[[datasets]]
name = "SciERC"
[datasets.re]
preset = "demo-re"
set = { "graph.layers" = 0 }
[factors]
model = ["LAI-Net", "PL-Marker"]
method = ["LAI-Net", "w/o 1st"]
representation = ["vanilla", "marker", "enumerate", "annotate"]
"""
    row = result_row(0.3, phase="RE", task="RE", gcn_layers=0, gcn_heads="", entity_filter="")
    paths = imported(study, [row])
    bare = "0 GCN layers, mask inv, without annotations"
    assert set(evidence_of(paths.study, paths.ledger)) == {
        "SciERC RE, 0 GCN layers, mask inv",
        f"SciERC RE, {bare}",
        f"SciERC RE, {bare}, representation vanilla",
        f"SciERC RE, {bare}, representation marker",
        f"SciERC RE, PL-Marker, {bare}",
    }


def test_a_note_of_several_tables_stands_on_the_page_once(study: Path, ledger: Path) -> None:
    page = compose_report(str(study), ledger).files["index.html"].decode()
    assert "</a> – relations between the entities" in page
    assert page.count("Protocol pure, averaging micro, checkpoint selection: dev.") == 1
    assert page.count('<section>\n<h2 id="table') >= 3


def test_a_live_page_differs_by_what_asks_for_news(study: Path, ledger: Path) -> None:
    still, live = (compose_report(str(study), ledger, is_live=is_live) for is_live in (False, True))
    page = live.files["index.html"].decode()
    assert still.version == live.version
    assert f'data-version="{live.version}"' in page
    assert "connect-src &#39;self&#39;" in page
    assert page.count("<script>") == 2
    assert still.version.encode() not in still.files["index.html"]


def test_the_command_of_a_lone_trial_speaks_of_no_others(study: Path, tmp_path: Path) -> None:
    Ledger.open(tmp_path / "empty.sqlite").close()
    for seeds, others in (("[3, 4]", "; the others differ only in <code>--seed</code>.\n"), ("[3]", ".\n")):
        study.write_text(STUDY.replace("[3, 4]", seeds), encoding="utf-8")
        page = compose_report(str(study), tmp_path / "empty.sqlite").files["index.html"].decode()
        assert f"This is seed 3{others}" in page


def test_a_corpus_with_folds_is_trained_fold_by_fold(study: Path, tmp_path: Path) -> None:
    study.write_text(STUDY.replace('corpus = "somewhere"', "folds = 2"), encoding="utf-8")
    Ledger.open(tmp_path / "empty.sqlite").close()
    commands = {item.command for item in evidence_of(study, tmp_path / "empty.sqlite").values()}
    assert all(" --fold 0 --seed 3 " in command for command in commands)


@pytest.mark.parametrize("dataset_lines", ["", '[datasets.re]\npreset = "demo-re"\n'])
def test_a_model_that_imported_rows_bring_to_one_phase_has_no_evidence_elsewhere(
    imported: Any, result_row: Any, dataset_lines: str
) -> None:
    brought = {
        "model": "PL-Marker",
        "gcn_layers": 0,
        "gcn_heads": "",
        "entity_filter": "false",
        "annotations": "false",
    }
    rows = [result_row(0.6 + seed / 100, seed=seed) for seed in (1, 2)]
    rows += [result_row(0.5, seed=seed, **brought) for seed in (1, 2)]
    text = (
        'name = "s"\nseeds = [1, 2]\n[[datasets]]\nname = "SciERC"\n[datasets.ner]\npreset = "demo-ner"\n'
        f"{dataset_lines}[factors]\ngcn_layers = [1, 2]\n"
    )
    paths = imported(text, rows)
    titles = [item.title for item in collect_evidence(paths.results)]
    assert [title.partition(",")[0] for title in titles if "PL-Marker" in title] == ["SciERC NER"]
    assert compose_report(str(paths.study), paths.ledger).files["index.html"]


def test_methods_stand_for_representations_only_where_these_are_not_planned(
    imported: Any, result_row: Any
) -> None:
    text = (
        'name = "s"\nseeds = [1]\n[[datasets]]\nname = "SciERC"\n[datasets.ner]\npreset = "demo-ner"\n'
        'set = { "graph.layers" = 1 }\n[factors]\nmethod = ["LAI-Net", "w/o 2nd", "w/o 1st"]\n'
    )
    bare = {"gcn_layers": 0, "gcn_heads": ""}
    rows = [result_row(0.6), result_row(0.5, **bare)]
    for representation, layers in (("", 0), ('representation = ["annotate", "enumerate"]\n', 1)):
        evidence = collect_evidence(imported(text + representation, rows).results)
        annotated = [
            item for item in evidence if any(key[2:] == ("representation", "annotate") for key in item.cells)
        ]
        assert [item.settings.get("graph.layers", 0) for item in annotated] == [layers]
