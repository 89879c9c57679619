"""`lai report` without its command line."""

from pathlib import Path

import analysis.report
from analysis.report import Report


def write_report(study: str, ledger: Path, out: Path, *, speed: Path | None = None) -> Report:
    report = analysis.report.compose_report(study, ledger, speed=speed)
    analysis.report.write_report(report, out)
    return report
