"""What the page says was trained: the base's settings beside the paper's, and the study's own words."""

from pathlib import Path

import pytest

from analysis.page import Page, render_page
from analysis.trained import Value, description, trained
from tune.spec.study import Study, load_study

STUDY = """
# What it is for: <b>bold</b>,
#   in two lines.

# Not this.
name = "s"  # nor this
seeds = [1]
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "first-ner"
[datasets.re]
preset = "first-re"
set = { "training.epochs" = 60 }
[[datasets]]
name = "mine"
[datasets.ner]
preset = "demo-ner"
set = { "filter.enabled" = false }
""".lstrip()


@pytest.fixture
def study(tmp_path: Path) -> Study:
    path = tmp_path / "study.toml"
    path.write_text(STUDY, encoding="utf-8")
    return load_study(path)


def test_the_papers_settings_stand_beside_the_bases(study: Study) -> None:
    (scierc, mine) = trained(study)
    assert (scierc.dataset, scierc.phases, scierc.has_paper) == ("SciERC", ("NER", "RE"), True)
    lines = scierc.lines
    assert lines["Encoder layers"] == [Value("3", "all", differs=True), Value("2", "all", differs=True)]
    assert lines["Epochs"] == [Value("3", "80", differs=True), Value("60", "60", differs=False)]
    assert lines["Learning rate, encoder"][0] == Value("0.0002", "0.0004", differs=True)
    assert lines["GCN layers"][1] == Value("2", "2 (inferred)", differs=False)
    assert lines["Frozen part of the encoder"][0] == Value("embeddings", "none (inferred)", differs=True)
    assert lines["Epochs of the filter's cold start"][0] == Value("1", "40", differs=True)
    assert lines["Precision"][0] == Value("bf16", "not said", differs=False)
    assert lines["Candidates kept per word, at most"] == [Value("0.75", "not said", differs=False), None]
    assert lines["Non-entity spans per sentence"][0] == Value("all", "all", differs=False)
    assert (mine.phases, mine.has_paper) == (("NER",), False)
    assert mine.lines["Entity filter"] == [Value("off", None, differs=False)]
    assert "Filter screens on" not in mine.lines


def test_the_page_begins_with_the_studys_words_and_settings(study: Study) -> None:
    assert description(study.file) == "What it is for: <b>bold</b>, in two lines."
    page = Page(
        study=study, description=description(study.file), trained=list(trained(study)), progress="",
        findings=(), tables=(), figures=(), left_out=["Table 3: why."], evidence=(), files=(),
        facts={
            "study": {"file": "", "sha256": ""}, "ledger": {"sha256": ""}, "speed": None, "command": "",
            "verify": "", "code": {"commit": None}, "trials": [], "failures": {}, "cautions": [],
            "corpora": {}, "imported_rows": 0,
            "commits": {}, "devices": [], "identity_version": 1, "versions": {},
        },
    )  # fmt: skip
    text = render_page(page)
    assert "What it is for: &lt;b&gt;bold&lt;/b&gt;, in two lines." in text
    assert "<td><strong>3</strong></td>" in text
    assert '<td>60</td><td class="published">60</td>' in text
    assert "Bold: differs from what the preprint says, taken literally.</p>" in text
    assert "The paper has no such corpus." in text
    assert "<li>Table 3: why.</li>" in text


def test_a_study_without_a_comment_has_no_description(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text("\ufeff\n" + STUDY[STUDY.index("name =") :], encoding="utf-8")
    assert description(path) == ""
