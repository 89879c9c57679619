"""What an evaluation found."""

from lai_net.pipeline import Evaluation


def score_of(evaluation: Evaluation, task: str, averaging: str = "micro", protocol: str = "pure") -> float:
    """F1."""
    (row,) = [
        score
        for score in evaluation.scores
        if (score["task"], score["averaging"], score["protocol"]) == (task, averaging, protocol)
    ]
    return float(row["f1"])
