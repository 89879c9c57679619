"""The report's page: one HTML file that loads nothing, works without scripts, and runs only its own.

Every score is a link to the trials behind it. Style and script stand in the page and are allowed by their
hashes (Content-Security-Policy), so nothing that comes from a file or a ledger can run, even if it got past
the templates' escaping.
"""

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from analysis.evidence import CellKey, Evidence
from analysis.figures.gallery import DrawnFigure
from analysis.findings import score
from analysis.sparklines import draw_sparkline
from analysis.tables.layout import NAMES, Entry, Grid, interval_text, signed
from analysis.tables.rows import Row, f1_rows
from analysis.tables.table import Table
from analysis.trained import Trained
from lai_net.metrics.scoring import SCORES
from lai_net.wording import counted
from tune.spec.study import Study

_SHORT_COMMIT = 10
_SCREEN = 1.35 * 96 / 72
"""Pixels to a point of a figure: on a screen it is shown larger than in print."""


@dataclass(frozen=True, slots=True)
class PageLine:
    """A line of a table with all its labels; `repeats` says how many of them the line above has, too."""

    labels: tuple[str, ...]
    repeats: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All that the page shows.

    Attributes:
        description: what the study's file says of it.
        trained: the settings of its bases.
        progress: one sentence on how far the study is.
        findings: what it came to, in plain words.
        left_out: tables and figures that would show nothing, with the reason.
        facts: the manifest's content, without the files' hashes.
        files: names of the files beside the page.
        live_version: of its content, to ask its server whether there is a newer one (see `analysis.server`);
            empty where no server is to be asked.
    """

    study: Study
    description: str
    trained: Sequence[Trained]
    progress: str
    findings: Sequence[str]
    tables: Sequence[Table]
    figures: Sequence[DrawnFigure]
    left_out: Sequence[str]
    evidence: Sequence[Evidence]
    facts: Mapping[str, Any]
    files: Sequence[str]
    live_version: str = ""


def render_page(page: Page) -> str:
    """The page as HTML; equal content gives equal text."""
    loader = PackageLoader("analysis")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "lines": page_lines, "sparkline": draw_sparkline, "commit": short_commit, "counted": counted,
        "fixed": _fixed, "data_uri": _data_uri, "as_json": json.dumps, "svg_width": _svg_width,
    }  # fmt: skip
    own = {name: loader.get_source(environment, name)[0] for name in ("page.css", "page.js", "live.js")}
    scripts = [own["page.js"], own["live.js"]] if page.live_version else [own["page.js"]]
    rows = {_key(row): row for row in f1_rows(row for table in page.tables for row in table.rows)}
    anchors = {key: item.anchor for item in page.evidence for key in item.cells}
    origins = {run.values["origin"] for item in page.evidence for run in item.runs} - {None}
    pieces = environment.get_template("index.html").generate(
        page=page,
        study=page.study,
        facts=page.facts,
        style=Markup(own["page.css"]),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(own["page.css"], scripts, is_live=bool(page.live_version)),
        anchors=anchors,
        fills=_fills(page.tables, anchors),
        notes=list(dict.fromkeys(note for table in page.tables for note in table.notes)),
        headlines={item.anchor: _headline(item, rows) for item in page.evidence},
        differences={item.anchor: list(_differences(item, rows)) for item in page.evidence},
        only_imported=origins == {"imported"},
    )
    text = io.StringIO()
    text.writelines(pieces)  # `render` would hold them all at once, hundreds a trial
    return text.getvalue()


def page_lines(grid: Grid) -> Iterator[list[PageLine]]:
    """The lines that stay together when a reader sorts, each with its labels written out."""
    together: list[PageLine] = []
    before: tuple[str, ...] = ()
    for line in grid.lines:
        repeats = next((index for index, label in enumerate(line.labels) if label), 0)
        labels = before[:repeats] + line.labels[repeats:]
        if together and not line.continues:
            yield together
            together = []
        together.append(PageLine(labels, repeats, line.entries))
        before = before if line.continues else labels
    if together:
        yield together


def short_commit(commits: str | None) -> str:
    """Commits as the long table has them, ten digits each."""
    names = (name.partition("-") for name in (commits or "").split(" + "))
    return " + ".join(f"{name[:_SHORT_COMMIT]}{dash}{rest}" for name, dash, rest in names)


def _key(row: Row) -> CellKey:
    return row.dataset, row.task, row.factor, row.level


def _fills(tables: Sequence[Table], anchors: Mapping[CellKey, str]) -> dict[str, dict[tuple[str, str], None]]:
    """By config, where its scores stand: the table's anchor, and table, factor and level in words."""
    fills: dict[str, dict[tuple[str, str], None]] = {anchor: {} for anchor in anchors.values()}
    for table in tables:
        name = f"Table {table.number}" if table.number.isdigit() else table.title
        for key in dict.fromkeys(_key(row) for row in table.rows if row.metric in SCORES):
            if key in anchors:
                fills[anchors[key]][table.slug, f"{name}, {NAMES[key[2]]} {key[3]}"] = None
    return fills


def _headline(evidence: Evidence, rows: Mapping[CellKey, Row]) -> str:
    """A config's scores in a few words."""
    parts = []
    for task in evidence.tasks:
        row = next((rows[key] for key in evidence.cells if key[1] == task and key in rows), None)
        if row is not None and row.mean is not None:
            parts.append(f"{task} {score(row)}")
    return ", ".join(parts) or "no score yet"


def _differences(evidence: Evidence, rows: Mapping[CellKey, Row]) -> Iterator[str]:
    """How a config's F1 differs from the base of each factor in which it is a level, in words."""
    for key in evidence.cells:
        row = rows.get(key)
        if row is None or row.delta is None:
            continue
        parts = [f"{row.task}, {NAMES[row.factor]} {row.level}: {signed(row.delta)} points of F1"]
        if row.delta_ci_low is not None and row.delta_ci_high is not None:
            parts[0] += f" ({interval_text(row.delta_ci_low, row.delta_ci_high)})"
        if row.p is not None and row.p_adjusted is not None:
            parts.append(f"p = {row.p:.2g}, after Holm {row.p_adjusted:.2g}")
        if row.effect is not None:
            parts.append(f"Hedges' g = {signed(row.effect)}")
        yield ", ".join(parts)


def _policy(style: str, scripts: Sequence[str], *, is_live: bool) -> str:
    """Nothing from anywhere, but this style, these scripts and the figures inside the page."""
    hashes = " ".join(_hash(script) for script in scripts)
    news = " connect-src 'self';" if is_live else ""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {hashes}; img-src data:;{news} "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _fixed(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _svg_width(svg: bytes) -> int:
    """How wide a figure is shown, in pixels; matplotlib gives its width in points."""
    points = re.search(rb'<svg[^>]*? width="([\d.]+)pt"', svg)
    if points is None:
        raise ValueError("an SVG without a width in points")
    return round(_SCREEN * float(points[1]))


def _data_uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
