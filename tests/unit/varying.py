"""A study of three levels and scores with known numbers. No test."""

from typing import Any

STUDY = """
name = "s"
seeds = 8
[[datasets]]
name = "SciERC"
[datasets.ner]
preset = "demo-ner"
[factors]
gcn_layers = [0, 1, 2]
"""
DECIDE = "[decide]\nmax_seeds = 16\nstep = 8\n"
BASE = [0.60, 0.62, 0.58, 0.61, 0.59, 0.60, 0.63, 0.57]


def with_datasets(*names: str) -> str:
    more = "".join(f'[[datasets]]\nname = "{name}"\n[datasets.ner]\npreset = "demo-ner"\n' for name in names)
    return STUDY.replace("[factors]", f"{more}[factors]")


def scores_of_three_levels(result_row: Any) -> list[dict[str, Any]]:
    """The base; no layers, 3 points below it but for 0.01; two layers, 0.1 points above or below."""
    made = []
    for seed, f1 in enumerate(BASE):
        about = 0.0001 if seed % 2 else -0.0001
        made += [
            result_row(round(score, 6), seed=seed, gcn_layers=layers, gcn_heads=heads)
            for layers, heads, score in (
                (0, "", f1 - 0.03 + about), (1, 4, f1), (2, 4, f1 + (0.001 if seed % 2 else -0.001)),
            )
        ]  # fmt: skip
    return made
