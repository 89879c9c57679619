"""The report's page in a real browser: nothing leaves it, it is accessible, it sorts, opens and prints."""

import dataclasses
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.report import compose_report
from analysis.server import LiveReport, ReportServer
from tests.reporting import write_report
from tune.ledger.ledger import Ledger
from tune.results.importing import import_csv

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REPORT = Path(__file__).parents[2] / "reports" / "scierc-first"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, for instance Debian's package")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Today's page of the committed study, from its long table."""
    folder = tmp_path_factory.mktemp("page")
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        import_csv(REPORT / "long.csv", ledger, REPORT / "curves.csv")
    write_report("scierc-first", folder / "ledger.sqlite", folder / "report")
    return folder / "report" / "index.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page that is to be opened, what it asked for and what it complained about."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.context = browser.new_context(viewport={"width": 1100, "height": 800}, **options)
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def column(self, table: str, number: int) -> list[str]:
        """What the first line of each group says in a column of a table."""
        bodies = self.page.locator(f"section:has(#{table}) tbody")
        return [
            body.locator("tr").first.locator("th, td").nth(number).inner_text().split("\n")[0].strip()
            for body in bodies.all()
        ]


@pytest.fixture
def visit(browser: Any, page_file: Path) -> Iterator[Visit]:
    visit = Visit(browser)
    visit.page.goto(page_file.as_uri())
    yield visit
    assert not visit.complaints
    assert [url for url in visit.requests if not url.startswith(("file:", "data:"))] == []
    assert [url for url in visit.requests if url.startswith("file:")] == [page_file.as_uri()]
    visit.context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 390)])
def test_axe_finds_nothing_serious(visit: Visit, scheme: Any, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    visit.page.emulate_media(color_scheme=scheme)
    visit.page.set_viewport_size({"width": width, "height": 800})
    visit.page.evaluate("document.querySelectorAll('details').forEach((part, n) => { part.open = n < 3; })")
    found = Axe().run(visit.page).response["violations"]
    assert [
        (item["id"], item["nodes"][0]["html"]) for item in found if item["impact"] in ("serious", "critical")
    ] == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_committed_page_has_speed_and_curves_and_is_accessible_too(browser: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    visit = Visit(browser)
    visit.page.goto((REPORT / "index.html").as_uri())
    assert visit.page.locator("#table3, #table_representations").count() == 2
    assert visit.page.locator("svg.curves").count() > 20
    visit.page.evaluate("document.querySelectorAll('details').forEach((part, n) => { part.open = n < 3; })")
    found = Axe().run(visit.page).response["violations"]
    assert [item["id"] for item in found if item["impact"] in ("serious", "critical")] == []
    assert visit.complaints == []
    visit.context.close()


def test_a_live_page_follows_its_study_and_keeps_what_is_open(
    browser: Any, page_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playwright.sync_api import expect

    monkeypatch.setattr("analysis.report.draw_all", lambda material: [])  # what takes the time
    first = compose_report("scierc-first", page_file.parents[1] / "ledger.sqlite", is_live=True)
    page = first.files["index.html"].replace(first.version.encode(), b"another")
    second = dataclasses.replace(first, files={**first.files, "index.html": page}, version="another")
    visit = Visit(browser)
    visit.page.clock.install()
    live = LiveReport(lambda: first, ())
    with ReportServer(live) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        visit.page.goto(server.address)
        details, news = visit.page.locator("details.evidence").nth(2), visit.page.locator("#news")
        details.locator("summary").click()
        live.problem = "study.toml: cannot be read"
        visit.page.clock.run_for(6000)
        expect(news).to_have_text(live.problem)
        live.problem = ""
        visit.page.clock.run_for(6000)
        expect(news).to_have_text("Live: this page follows the study.")
        live.report = second
        visit.page.clock.run_for(6000)
        visit.page.wait_for_function("document.documentElement.dataset.version === 'another'")
        expect(details).to_have_attribute("open", "")
        assert visit.page.locator("details[open]").count() == 1
        server.shutdown()
        thread.join()
    visit.page.clock.run_for(6000)
    expect(news).to_have_text("The server has ended; this page stays as it is.")
    visit.context.close()


@pytest.mark.parametrize(
    ("table", "labels"), [("table1", "SciERC DyGIE++ (2019) SciBert"), ("table2", "SciERC NER")]
)
def test_on_a_phone_a_score_keeps_its_names_in_view(visit: Visit, table: str, labels: str) -> None:
    """One narrow column has all labels and stays where it is, as the name of the columns' group does."""
    visit.page.set_viewport_size({"width": 390, "height": 800})
    section = visit.page.locator(f"section:has(#{table})")
    line = section.locator("tbody tr").first
    label, group = line.locator("th").first, section.locator("th.group span").first
    assert label.inner_text().split() == labels.split()
    assert line.locator("th:visible").count() == 1
    before = label.bounding_box()
    assert before["width"] < 390 / 3
    assert line.locator("td:visible").nth(1).bounding_box()["x"] < 300
    section.locator(".wide").evaluate("part => { part.scrollLeft = 100; }")
    assert label.bounding_box() == before
    assert group.bounding_box()["x"] >= before["x"] + before["width"]


def test_a_table_that_is_too_wide_wraps_before_it_scrolls(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 1200, "height": 800})
    tables = visit.page.locator("section > .wide")
    assert tables.evaluate_all("parts => parts.map(part => part.scrollWidth - part.clientWidth)") == [0] * 4


def test_a_column_sorts_by_keyboard_and_back(visit: Visit) -> None:
    heads = visit.page.locator("section:has(#table4) thead tr").last.locator("th")
    names = heads.all_inner_texts()
    column = names.index("F1")
    before = visit.column("table4", column)
    head = heads.nth(column)
    head.locator("button").focus()
    for key, direction in (("Enter", "descending"), ("Space", "ascending"), ("Enter", "none")):
        visit.page.keyboard.press(key)
        assert head.get_attribute("aria-sort") == direction
        scores = visit.column("table4", column)
        if direction == "none":
            assert scores == before
        else:
            assert scores == sorted(before, key=float, reverse=direction == "descending")
        labels = visit.column("table4", 1)
        assert set(labels) == {"NER", "RE", "RE+"}, "each line says its task, wherever it stands"


def test_ids_are_sorted_as_text(visit: Visit) -> None:
    """Though they begin with digits, or could be read as a number, as `1e5` can."""
    details = visit.page.locator("details.evidence").first
    details.locator("summary").click()
    ids = details.locator("tbody td:last-child code")
    texts = ["9f3c30a", "1e5", "10ab"] + ["f0"] * (ids.count() - 3)
    ids.evaluate_all("(found, texts) => found.forEach((id, n) => { id.textContent = texts[n]; })", texts)
    head = details.locator("thead th").last
    for direction, expected in (
        ("descending", ["10ab", "9f3c30a", "1e5"]),
        ("ascending", ["1e5", "9f3c30a", "10ab"]),
    ):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == direction
        assert [text for text in ids.all_inner_texts() if text != "f0"] == expected


def test_a_line_of_the_paper_stays_below_ours(visit: Visit) -> None:
    visit.page.locator("section:has(#table2) thead button").nth(2).click()
    bodies = visit.page.locator("section:has(#table2) tbody").all()
    assert len(bodies) == 3
    for body in bodies:
        ours, paper = body.locator("tr").all()
        assert "published" not in (ours.locator("td").first.get_attribute("class") or "")
        assert "paper" in paper.inner_text()


def test_a_cell_opens_its_trials_by_keyboard(visit: Visit) -> None:
    link = visit.page.locator("section:has(#table4) td a").nth(2)
    target = (link.get_attribute("href") or "").removeprefix("#")
    details = visit.page.locator(f"details:has(#{target})")
    assert details.get_attribute("open") is None
    link.focus()
    visit.page.keyboard.press("Enter")
    details.locator("pre").wait_for(state="visible")
    visit.page.wait_for_function("document.activeElement.tagName === 'SUMMARY'")
    shown = details.inner_text()
    assert f"NER {link.inner_text()} ± " in shown, "its F1"
    assert "lai train ner --corpus CORPUS --preset first-ner --seed 0" in shown
    visit.page.keyboard.press("Enter")
    assert details.get_attribute("open") is None


def test_without_scripts_it_reads_and_opens_all_the_same(browser: Any, page_file: Path) -> None:
    visit = Visit(browser, java_script_enabled=False)
    visit.page.goto(page_file.as_uri())
    assert visit.page.locator("th button").count() == 0
    link = visit.page.locator("td a").first
    target = (link.get_attribute("href") or "").removeprefix("#")
    link.click()
    visit.page.locator(f"#{target} pre").wait_for(state="visible")
    visit.context.close()


def test_print_has_the_trials_of_every_cell(visit: Visit) -> None:
    closed = visit.page.pdf()
    assert closed.startswith(b"%PDF")
    assert visit.page.locator("details[open]").count() == 0, "as it was before"
    visit.page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    opened = visit.page.pdf()
    visit.page.evaluate("document.querySelectorAll('details').forEach(part => part.remove())")
    without = visit.page.pdf()
    pages, pages_opened, pages_without = (
        content.count(b"/Type /Page\n") for content in (closed, opened, without)
    )
    assert pages == pages_opened > pages_without > 0
