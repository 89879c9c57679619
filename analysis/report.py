"""The report of a study: a folder of files that is a function of ledger and study, byte for byte.

It depends on these two and the software alone, not on when or where the report is made; `long.csv` has the
times and devices of trials, as the ledger has them. Files are written under temporary names and renamed, the
manifest last; only files that the manifest of an earlier report lists are overwritten or removed.
"""

import base64
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis.cautions import cautions, commits, failures, used_trials
from analysis.figures.stability import FACTORS, compute_figure_a1, draw_figure_a1, render
from analysis.findings import findings, progress
from analysis.frame import Results, read_results
from analysis.tables.layout import LAYOUTS
from analysis.tables.render import to_csv, to_latex, to_markdown
from analysis.tables.table import Table, compute_table
from lai_net.errors import InputError
from tune.identity import IDENTITY_VERSION
from tune.results import to_csv as long_to_csv

_PACKAGES = ("lai-tune", "numpy", "pandas", "scipy", "matplotlib", "jinja2")
_COMMAND = "lai report"
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Written:
    """What a report came to: one sentence, and its files' names."""

    progress: str
    files: tuple[str, ...]


def write_report(study: str, ledger: Path, out: Path) -> Written:
    """Write the report of a study into the folder `out`.

    Files of an earlier report there that this one does not have are removed.

    Raises:
        InputError: the study or the ledger cannot be read, or `out` is no folder or holds other files.
    """
    results = read_results(ledger, study)
    numbers = [number for number in LAYOUTS if (results.cells["table"] == number).any()]
    tables = [compute_table(results.cells, number) for number in numbers]
    files: dict[str, bytes] = {}
    for table in tables:
        files[f"table{table.number}.csv"] = to_csv(table).encode()
        files[f"table{table.number}.md"] = to_markdown(table).encode()
        files[f"table{table.number}.tex"] = to_latex(table).encode()
    if results.cells["factor"].isin(list(FACTORS)).any():
        drawn = render(draw_figure_a1(compute_figure_a1(results.cells)))
        files |= {f"figure_a1.{name}": content for name, content in drawn.items()}
    files["long.csv"] = long_to_csv(results.long).encode()
    facts = _facts(results)
    sentence = progress(results.cells)
    files["index.html"] = _page(results, tables, files, facts, sentence).encode()
    manifest = facts | {"files": {name: _sha256(content) for name, content in sorted(files.items())}}
    files[_MANIFEST] = (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
    _write(out, files)
    return Written(sentence, tuple(files))


def _facts(results: Results) -> dict[str, Any]:
    """Where the numbers come from, and what to know before trusting them."""
    study_file = results.study.file
    return {
        "study": {
            "name": results.study.name, "file": study_file.name, "sha256": _sha256(study_file.read_bytes()),
        },
        "command": f"{_COMMAND} {study_file.name} --ledger LEDGER --out DIR",
        "trials": used_trials(results),
        "failures": failures(results),
        "cautions": cautions(results),
        "imported_rows": sum(row["origin"] == "imported" for row in results.long),
        "commits": commits(results),
        "devices": sorted({row["device"] for row in results.long} - {None}),
        "identity_version": IDENTITY_VERSION,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
    }  # fmt: skip


def _page(
    results: Results, tables: Iterable[Table], files: Mapping[str, bytes], facts: Mapping[str, Any], done: str
) -> str:
    environment = Environment(
        loader=PackageLoader("analysis"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    tables = list(tables)
    svg = files.get("figure_a1.svg")
    return environment.get_template("index.html").render(
        study=results.study,
        seeds=len(results.study.seeds),
        progress=done,
        findings=[sentence for table in tables for sentence in findings(table.rows)],
        tables=tables,
        figure=None if svg is None else base64.b64encode(svg).decode(),
        facts=facts,
        files=sorted([*files, _MANIFEST]),
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(out: Path, files: Mapping[str, bytes]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        present = {path.name for path in out.iterdir()}
        own = _files_of_earlier_report(out)
        others = sorted((present & files.keys()) - own if own else present)
        if others:
            raise InputError(f"{out}: has {others[0]}, which no report wrote; name an empty folder")
        for name, content in files.items():
            temporary = out / f".{name}.tmp"
            temporary.write_bytes(content)
            temporary.replace(out / name)
        for name in own - files.keys():
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be written as a folder ({error.strerror}); name another") from error


def _files_of_earlier_report(out: Path) -> set[str]:
    """The manifest in `out` and what it lists; nothing where there is none, or another program's."""
    try:
        manifest = json.loads((out / _MANIFEST).read_text(encoding="utf-8"))
        if not manifest["command"].startswith(_COMMAND):
            return set()
        return {_MANIFEST, *(name for name in manifest["files"] if Path(name).name == name)}
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
        return set()
