"""LAI-Net: label-annotation-interaction network for end-to-end relation extraction.

`LaiNet` is a trained pair of models: `LaiNet.from_pretrained(folder).extract(texts)`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lai_net.extractor import LaiNet

__all__ = ["LaiNet"]
__version__ = "0.1.0"


def __dir__() -> list[str]:
    """For completion by tab."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import torch only when the model is first used, so that `lai --help` stays quick."""
    if name in __all__:
        return getattr(import_module("lai_net.extractor"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
