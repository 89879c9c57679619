"""Tensors to files of safetensors, as any other file is written."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from stat import S_IMODE

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a file whose mode follows the umask; that of `save_file` is for its owner alone.

    Raises:
        OSError: the disk is full, or the like; `save_file` has an error of its own for it.
    """
    path.touch()
    mode = S_IMODE(path.stat().st_mode)
    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except SafetensorError as error:
        found = _OS_ERROR.search(str(error))
        if found is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(path)) from error
    path.chmod(mode)
