"""GPUs that Ray gives and torch does not see are told before anything is trained."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from lai_net.errors import InputError
from tune.artefacts.storage import storage_at
from tune.cluster import workers as cluster_workers
from tune.cluster.connection import cluster
from tune.cluster.gate import Requirements, check_nodes
from tune.code_identity import code_identity
from tune.engine import Node
from tune.spec.study import Resources


@pytest.mark.parametrize(
    ("resources", "held", "is_refused"),
    [
        ({"gpus_per_trial": 0.5}, 1, True),
        ({"gpus_per_trial": "measured"}, 1, True),
        ({"gpus_per_trial": 0.5, "gpus": 1}, 1, False),
        ({"gpus_per_trial": 0.5}, 0, False),
        ({}, 1, False),
    ],
    ids=["a share", "measured", "only counted", "none is there", "none is asked for"],
)
def test_this_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch, resources: dict[str, Any], held: int, is_refused: bool
) -> None:
    monkeypatch.setattr(cluster_workers, "cluster", lambda **_: nullcontext())
    monkeypatch.setattr(cluster_workers, "alive_nodes", lambda: [Node(8, held, "A100")])
    monkeypatch.setattr("lai_net.device.missing_cuda", lambda: "Torch not compiled with CUDA enabled")
    prepared: Any = SimpleNamespace(study=SimpleNamespace(resources=Resources(**resources)))
    said = r"^this machine has no GPU that torch sees \(Torch not compiled with CUDA enabled\), though"
    refused = pytest.raises(InputError, match=said) if is_refused else nullcontext()
    with refused, cluster_workers.workers(prepared, None, Mock()):
        pass


@pytest.mark.ray
@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU")
def test_a_node_is_refused_where_trials_take_gpus(tmp_path: Path) -> None:
    required = Requirements(code_identity(), {}, storage_at(str(tmp_path)), str(Path.cwd()))
    with cluster(gpus=1):
        assert check_nodes(required) == 1
        with pytest.raises(InputError, match=r"^1 of 1 nodes cannot be used: .* has no GPU that torch"):
            check_nodes(replace(required, cuda=True))
    with cluster(gpus=0):
        assert check_nodes(replace(required, cuda=True)) == 1, "it gets no trial"
