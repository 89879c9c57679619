"""The workers of a run: of this machine, or of a cluster, where Ray's object store brings what they read."""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tune import ray_environment  # noqa: F401 - ray reads it at its import

# isort: split
import ray

from lai_net.errors import InputError
from lai_net.schema import Corpus
from tune.artefacts.port import Storage
from tune.cluster.connection import cluster
from tune.cluster.features import ObjectStoreCarrier
from tune.cluster.gate import Requirements, check_nodes
from tune.cluster.nodes import alive_nodes
from tune.cluster.options import Remote
from tune.code_identity import code_identity
from tune.engine import Executor, MachineFaultError, Message
from tune.preparation import Prepared
from tune.task_spec import CorpusSource
from tune.trainable import cuda_problem, execute


@dataclass(frozen=True)
class RemoteExecutor:
    """`tune.trainable.execute` on a node that needs the driver's code, and no corpus files.

    Attributes:
        code: the driver's, as `code_identity` tells it; nodes may join after the gate.
        corpora: each lies once in the object store of a node that uses it, and is kept by its workers.
        features: brings states of frozen encoders to the nodes.
    """

    code: str
    corpora: Mapping[CorpusSource, "ray.ObjectRef[Corpus]"]
    features: ObjectStoreCarrier

    def __call__(self, spec: str) -> Iterator[Message]:
        """A `tune.engine.Executor`.

        Raises:
            MachineFaultError: this node has other code.
        """
        if code_identity() != self.code:
            raise MachineFaultError(
                f"this node runs lai-tune {code_identity()} and the driver {self.code}; install the same, "
                "or say --ship-code"
            )
        return execute(spec, lambda planned: _received(planned, self.corpora[planned]), self.features)


@functools.lru_cache(maxsize=16)
def _received(planned: CorpusSource, ref: "ray.ObjectRef[Corpus]") -> Corpus:
    corpus: Corpus = ray.get(ref)
    if corpus.content_id != planned.content_id:
        raise MachineFaultError(f"corpus {planned.name}: what arrived is not what was sent; call again")
    return corpus


@contextlib.contextmanager
def workers(prepared: Prepared, remote: Remote | None, storage: Storage) -> Iterator[Executor]:
    """Start a Ray of this machine, or join a cluster, look at its nodes and send them the corpora.

    Args:
        prepared: the study.
        remote: the cluster; None is this machine.
        storage: of the artefacts, which all nodes must reach.

    Yields:
        What runs in the workers.

    Raises:
        InputError: the cluster or one of its nodes cannot be used.
    """
    resources = prepared.study.resources
    if remote is None:
        with cluster(gpus=resources.gpus):
            has_gpus = any(node.gpus for node in alive_nodes())
            if resources.needs_cuda and has_gpus and (problem := cuda_problem()):
                raise InputError(f"this machine {problem}")
            yield execute
        return
    with cluster(remote.address, insecure=remote.insecure, ship_code=remote.ship_code):
        encoders, cwd = prepared.contents.encoder_ids, str(Path.cwd())
        check_nodes(Requirements(code_identity(), encoders, storage, cwd, resources.needs_cuda))
        sent = {source: ray.put(prepared.contents.corpora[key]) for key, source in prepared.corpora.items()}
        yield RemoteExecutor(code_identity(), sent, ObjectStoreCarrier.start())
