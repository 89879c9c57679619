"""Read the learning curves of a report's page back from its drawings, to 0.02 points of F1.

For a study whose ledger is gone, as scierc-minilm's:

    git show d698e4b:reports/scierc-minilm/index.html | python docs/studies/curves_of_page.py > curves.csv
"""

import csv
import re
import sys
from collections.abc import Iterator

_LINE = re.compile(r'<polyline points="([^"]+)"><title>seed (\d+)</title>')
_TICK = re.compile(r'<line [^>]*y1="([\d.]+)"[^>]*/><text [^>]*>([\d.]+)</text>')
_TRIAL = re.compile(
    r'<th class="stub" scope="row">(\d+)</th>(?:(?!<tbody>).)*<code>(\w{20})</code></td></tr>'
)


def curves(page: str) -> Iterator[tuple[str, int, float]]:
    """Trial, epoch and dev F1 (0-1)."""
    for section in page.split('<details class="evidence">')[1:]:
        ticks = [(float(y), float(f1)) for y, f1 in _TICK.findall(section)]
        (low_y, low), (high_y, high) = ticks[0], ticks[-1]
        trials = {int(seed): trial for seed, trial in _TRIAL.findall(section)}
        for points, seed in _LINE.findall(section):
            _, *heights = (float(point.split(",")[1]) for point in points.split())  # the first stands twice
            for epoch, y in enumerate(heights, 1):
                f1 = low + (high - low) * (low_y - y) / (low_y - high_y)
                yield trials[int(seed)], epoch, round(f1 / 100, 4)


if __name__ == "__main__":
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(("trial_id", "epoch", "f1"))
    rows.writerows(curves(sys.stdin.read()))
