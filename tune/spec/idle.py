"""What a study sets by hand though it changes nothing."""

from collections.abc import Iterable, Iterator

from lai_net.config import TrialConfig
from lai_net.doubts import idle_doubts
from tune.spec.study import PhaseSpec, Study


def lines_on_idle(
    study: Study, place: str, spec: PhaseSpec | None, configs: Iterable[TrialConfig]
) -> Iterator[str]:
    """A line for each setting of `spec` that acts in none of the configs made from it."""
    given = () if spec is None else spec.settings
    for doubt in idle_doubts(configs, given, on_cuda=study.resources.fixed_share > 0):
        yield f"{place}: {doubt}"
