"""What a user is warned of though it is allowed: settings that do harm or nothing, bf16 where it is slow."""

from collections.abc import Iterable

from lai_net.active_settings import idle_settings
from lai_net.config import TrialConfig

SLOW_BF16 = 'has no instructions for bf16, which is slower there than float32 (training.precision = "fp32")'
"""Said of a device or a host."""


def doubts(config: TrialConfig) -> list[str]:
    """What is allowed and does harm, as was measured: a line for the user each."""
    if not (config.screens_text and config.filter.threshold > 0):
        return []
    return [
        f'filter.threshold {config.filter.threshold} with filter.stage = "text" loses gold spans, more '
        "as training goes on (decision 11: to .87); set filter.threshold = 0 and filter.ratio = 0.75"
    ]


def idle_doubts(configs: Iterable[TrialConfig], given: Iterable[str], *, on_cuda: bool) -> list[str]:
    """Of settings that were set by hand those that change nothing in any of the configs, a line each.

    `on_cuda`: whether they are trained on such a device.
    """
    idle = [_idle(config, on_cuda=on_cuda) for config in configs]
    return [
        f"{name} has no effect here ({idle[0][name]})"
        for name in given
        if idle and all(name in one for one in idle)
    ]


def _idle(config: TrialConfig, *, on_cuda: bool) -> dict[str, str]:
    idle = idle_settings(config)
    if config.training.compile and not on_cuda:
        idle["training.compile"] = "it acts on a CUDA device alone"
    return idle
