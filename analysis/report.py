"""The report of a study: a folder of files that is a function of ledger and study, byte for byte.

It depends on these two, the names by which they are called, the software and, for a caution, the corpora that
the study names, not on when the report is made; `long.csv`, `curves.csv` and the page have the times and
devices of trials, as the ledger has them. Files are written aside and then take their places, the manifest
last; only files that the manifest of an earlier report lists are overwritten or removed.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from analysis.cautions import cautions, commits, failures, unmatched
from analysis.evidence import collect_evidence
from analysis.figures.gallery import DrawnFigure, Material, draw_all
from analysis.figures.speed import LEFT_OUT as NO_SPEED_FIGURE
from analysis.findings import findings, progress
from analysis.frame import Results, read_results
from analysis.levelling import ConfigCurves, config_curves, levelling
from analysis.page import Page, render_page
from analysis.retrain import report_command, verify_command
from analysis.speed import Speed, read_speeds
from analysis.tables.caption import where
from analysis.tables.efficiency import left_out
from analysis.tables.render import to_csv, to_latex, to_markdown
from analysis.tables.rows import Row
from analysis.tables.table import Table, compute_tables
from analysis.trained import description, trained
from lai_net.errors import InputError
from lai_net.files import new_files, unwritable
from tune.code_identity import code_of
from tune.ledger.ledger import Ledger
from tune.planning.retention import not_kept
from tune.results.curves import curves_to_csv
from tune.results.table import to_csv as long_to_csv
from tune.search.plan import SearchPlan, plan_search
from tune.search.report import read_search, result_lines
from tune.search.state import Search
from tune.spec.identity import IDENTITY_VERSION
from tune.spec.study import Interval, Study

Importances = Callable[[SearchPlan, Search], Mapping[str, float]]
"""Each setting's share; raises `InputError` where a search is too small."""
_PACKAGES = ("lai-tune", "numpy", "pandas", "scipy", "statsmodels", "matplotlib", "jinja2")
_COMMAND = "lai report"
_PAGE, _MANIFEST = "index.html", "manifest.json"
_CODE = ("analysis", "tune", "lai_net")
"""The folders whose uncommitted changes make a report `dirty`; a report itself is none."""


@dataclass(frozen=True, slots=True)
class Report:
    """One sentence on how far the study is, the report's files by name, and a digest of their inputs.

    `unmatched` is a sentence on the imported rows that no cell takes, if there are any.
    """

    progress: str
    files: Mapping[str, bytes]
    version: str
    unmatched: Sequence[str] = ()


def compose_report(
    study: str,
    ledger: Path,
    *,
    speed: Path | None = None,
    importances: Importances | None = None,
    interval: Interval | None = None,
    is_live: bool = False,
) -> Report:
    """All files of a study's report, the manifest last, as `write_report` writes them.

    Args:
        study: a study file, or the name of a shipped study.
        ledger: the ledger file.
        speed: a CSV of the speed benchmark; without it there is no Table 3.
        importances: computes those of a search's settings; without it there is no figure of them.
        interval: of means and differences; None takes the study's.
        is_live: whether the page asks its server for news (see `analysis.server`).

    Raises:
        InputError: the study, the ledger or the benchmark cannot be read, or a search is given what tables
            alone take.
    """
    results = read_results(ledger, study, interval)
    given = [name for name, value in (("--speed", speed), ("--interval", interval)) if value is not None]
    if results.study.search is not None and given:
        raise InputError(f"{given[0]}: {results.study.file} is a search, which has no tables; leave it out")
    speeds = _speeds(results, speed)
    tables = compute_tables(results.cells, speeds)
    rows = [row for table in tables for row in table.rows]
    search, told, shares = _search(results.study, ledger, importances)
    configs = config_curves(results)
    figures = list(draw_all(Material(results.cells, rows, results.curves, configs, search, shares)))
    files = dict(_data_files(results, tables, figures))
    read = {"ledger": {"sha256": _sha256(files["long.csv"] + files["curves.csv"])}}
    facts = _facts(results, ledger, speed, interval) | read
    done, said = _sentences(results, rows, configs, told)
    hashes = {name: _sha256(content) for name, content in files.items()}
    page_version = _sha256(json.dumps([facts, done, said, hashes]).encode())
    page = Page(
        study=results.study, description=description(results.study.file),
        trained=list(trained(results.study)), progress=done, findings=said, tables=tables, figures=figures,
        left_out=_left_out(results, speeds, tables, figures),
        evidence=collect_evidence(results), facts=facts, files=sorted([*files, _PAGE, _MANIFEST]),
        live_version=page_version if is_live else "",
    )  # fmt: skip
    files[_PAGE] = render_page(page).encode()
    hashes[_PAGE] = _sha256(files[_PAGE])
    manifest = facts | {"files": dict(sorted(hashes.items()))}
    files[_MANIFEST] = (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
    return Report(page.progress, files, page_version, unmatched(results))


def write_report(report: Report, out: Path) -> None:
    """Write a report into the folder `out`; of an earlier one there what this does not have is removed.

    Raises:
        InputError: `out` is no folder, cannot be written, or holds files that no report wrote.
    """
    try:
        own = _files_of_earlier_report(out)
        with new_files(out, last=_MANIFEST) as new:
            present = {path.name for path in out.iterdir()} - {new.name}
            others = sorted((present & report.files.keys()) - own if own else present)
            if others:
                raise InputError(
                    f"{out}: has {others[0]}, which no report wrote to its end; name an empty folder, or "
                    "empty this one if a report was interrupted there"
                )
            for name, content in report.files.items():
                (new / name).write_bytes(content)
        for name in own - report.files.keys():
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error


def _sentences(
    results: Results, rows: Sequence[Row], configs: Sequence[ConfigCurves], told: Sequence[str]
) -> tuple[str, list[str]]:
    """How far a study is, and what it has shown; `told` are a search's own lines."""
    if told:
        return told[0], list(told[1:])
    found, ends = findings(rows), [item.sentence() for item in levelling(configs)]
    view = [f"Scores are F1 in percent {where(results.cells)}."] if found else []
    return progress(results.cells), [*view, *found, *ends]


def _data_files(
    results: Results, tables: Sequence[Table], figures: Sequence[DrawnFigure]
) -> Iterator[tuple[str, bytes]]:
    """All but the page and the manifest, by name."""
    for table in tables:
        yield f"{table.slug}.csv", to_csv(table).encode()
        yield f"{table.slug}.md", to_markdown(table).encode()
        yield f"{table.slug}.tex", to_latex(table).encode()
    for figure in figures:
        yield from ((f"{figure.name}.{suffix}", content) for suffix, content in figure.files.items())
        yield f"{figure.name}-column.pdf", figure.column
    yield "long.csv", long_to_csv(results.long)
    yield "curves.csv", curves_to_csv(results.curves, results.long)


def _speeds(results: Results, path: Path | None) -> tuple[Speed, ...]:
    """The benchmark's rows; there must be some for the study."""
    speeds = () if path is None else read_speeds(path)
    datasets = {dataset.name for dataset in results.study.datasets}
    if path is not None and not any(item.dataset in datasets and item.step == "inference" for item in speeds):
        raise InputError(f"{path}: has no inference speed on {' or '.join(sorted(datasets))}; leave it out")
    return speeds


def _left_out(
    results: Results, speeds: Sequence[Speed], tables: Sequence[Table], figures: Sequence[DrawnFigure]
) -> list[str]:
    """What of speed the report does not show, and why; a search has none of it."""
    reasons = left_out(results.cells, speeds, {table.number for table in tables})
    if speeds and not results.cells.empty and all(figure.name != "figure_speed" for figure in figures):
        reasons.append(NO_SPEED_FIGURE)
    return reasons


def _search(
    study: Study, ledger: Path, importances: Importances | None
) -> tuple[Search | None, Sequence[str], Mapping[str, float]]:
    """A search as its log leaves it, its lines, and its importances once it has enough complete configs."""
    if study.search is None:
        return None, (), {}
    plan = plan_search(study)
    with Ledger.open(ledger, read_only=True) as opened:
        search = read_search(plan, opened)
        told = result_lines(search, not_kept(opened))
    try:
        return search, told, {} if importances is None else importances(plan, search)
    except InputError:  # too few
        return search, told, {}


def _facts(results: Results, ledger: Path, speed: Path | None, interval: Interval | None) -> dict[str, Any]:
    """Where the numbers come from, and what to know before trusting them."""
    study_file = results.study.file
    return {
        "study": {
            "name": results.study.name, "file": study_file.name, "sha256": _sha256(study_file.read_bytes()),
        },
        "speed": None if speed is None else {"file": speed.name, "sha256": _sha256(speed.read_bytes())},
        "command": report_command(results.study, ledger, speed, interval),
        "verify": verify_command(results.study, ledger),
        "code": code_of(Path(__file__), *_CODE),
        "trials": _used_trials(results),
        "failures": failures(results),
        "cautions": cautions(results),
        "imported_rows": sum(row["origin"] == "imported" for row in results.long),
        "corpora": dict(results.corpora),
        "commits": commits(results),
        "devices": sorted({row["device"] for row in results.long} - {None}),
        "identity_version": IDENTITY_VERSION,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
    }  # fmt: skip


def _used_trials(results: Results) -> list[str]:
    """Ids of the trials whose scores are shown; a search shows those that it stopped, too."""
    if results.study.search is not None:
        own = (row for row in results.long if row["origin"] == "run")
        return sorted({row["trial_id"] for row in own if row["status"] in {"completed", "pruned"}})
    done = results.cells[results.cells["state"] == "completed"]
    return sorted({name for names in done["trial_ids"] for name in names.split()})


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _files_of_earlier_report(out: Path) -> set[str]:
    """The manifest in `out` and what it lists; nothing where there is none, or another program's."""
    try:
        manifest = json.loads((out / _MANIFEST).read_text(encoding="utf-8"))
        if not manifest["command"].startswith(_COMMAND):
            return set()
        return {_MANIFEST, *(name for name in manifest["files"] if Path(name).name == name)}
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
        return set()
