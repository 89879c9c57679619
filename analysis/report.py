"""The report of a study: a folder of files that is a function of ledger and study, byte for byte.

Nothing in it depends on the time, the machine or the folder. Files are written under temporary names and
renamed, the manifest last.
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

from analysis.figures.stability import FACTORS, FORMATS, compute_figure_a1, draw_figure_a1, render
from analysis.findings import findings, progress
from analysis.frame import Results, read_results
from analysis.tables.layout import LAYOUTS
from analysis.tables.render import to_csv, to_latex, to_markdown
from analysis.tables.table import Table, compute_table
from lai_net.errors import InputError
from tune.identity import IDENTITY_VERSION
from tune.results import to_csv as long_to_csv
from tune.study import FOLDER

_PACKAGES = ("lai-tune", "numpy", "pandas", "scipy", "matplotlib", "jinja2")
_OWNED = (
    *(f"table{number}.{suffix}" for number in LAYOUTS for suffix in ("csv", "md", "tex")),
    *(f"figure_a1.{suffix}" for suffix in FORMATS),
)


@dataclass(frozen=True, slots=True)
class Written:
    """What a report came to: one sentence, and its files' names."""

    progress: str
    files: tuple[str, ...]


def write_report(study: str, ledger: Path, out: Path) -> Written:
    """Write the report of a study into the folder `out`.

    Tables and figures of an earlier report that this study does not have are removed from it.

    Raises:
        InputError: the study or the ledger cannot be read, or `out` cannot be a folder.
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
    source = _study_file(study)
    facts = _facts(results, source)
    sentence = progress(results.cells)
    files["index.html"] = _page(results, tables, files, facts, sentence).encode()
    manifest = facts | {"files": {name: _sha256(content) for name, content in sorted(files.items())}}
    files["manifest.json"] = (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
    _write(out, files)
    return Written(sentence, tuple(files))


def _facts(results: Results, study_file: Path) -> dict[str, Any]:
    """Where the numbers come from."""
    done = results.cells[results.cells["state"] == "completed"]
    used = sorted({name for names in done["trial_ids"] for name in names.split()})
    return {
        "study": {
            "name": results.study.name, "file": study_file.name, "sha256": _sha256(study_file.read_bytes()),
        },
        "command": f"lai report {study_file.name} --ledger LEDGER --out DIR",
        "trials": used,
        "imported_rows": sum(row["origin"] == "imported" for row in results.long),
        "commits": _distinct(row["commit"] for row in results.long),
        "devices": _distinct(row["device"] for row in results.long),
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
        files=sorted([*files, "manifest.json"]),
    )


def _study_file(study: str) -> Path:
    """The file that `tune.study.load_study` reads."""
    return Path(study) if Path(study).exists() else FOLDER / f"{study}.toml"


def _distinct(values: Iterable[str | None]) -> list[str]:
    return sorted({value for value in values if value})


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(out: Path, files: Mapping[str, bytes]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            temporary = out / f".{name}.tmp"
            temporary.write_bytes(content)
            temporary.replace(out / name)
        for name in set(_OWNED) - files.keys():
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be written as a folder ({error.strerror}); name another") from error
