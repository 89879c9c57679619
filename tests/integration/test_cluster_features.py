"""States of a frozen encoder on a cluster of two raylets: computed once, brought to each node once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_run_cluster import (  # noqa: F401 - a fixture
    REPOSITORY,
    Raylets,
    content,
    outcome,
    raylets,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow]

STUDY = """
name = "frozen"
seeds = [1, 2, 3, 4]
[[datasets]]
name = "demo"
corpus = "embedded"
[datasets.ner]
preset = "demo-ner"
[datasets.ner.set]
"encoder.name" = "{encoder}"
"encoder.freeze" = "features"
"training.epochs" = 2
"""

DRIVER = """
import hashlib, json, shutil, sys
from pathlib import Path
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from lai_net.corpora.loading import load_corpus
from lai_net.preset import load_preset
from lai_net.settings import with_settings
from tune.cluster.connection import cluster
from tune.cluster.features import ObjectStoreCarrier

address, encoder, folder = sys.argv[1:]
changes = {"encoder.name": encoder, "encoder.freeze": "features"}
config = with_settings(load_preset("demo-ner"), changes)
corpus = load_corpus("embedded", name="demo")

def look(carrier):
    import torch
    from lai_net.trained_model import make_task
    from lai_net.streams import Streams
    from lai_net.training import features
    computed, write = [], features._write_states
    features._write_states = lambda *given: (computed.append(1), write(*given))
    try:
        streams = Streams(1, torch.device("cpu"))
        task = make_task(config, corpus.labels, streams, "cpu", corpus.sentences("train"))
        store = features.FeatureStore(Path(folder), carrier)
        found = store.states(config, task.marked_texts(), task.model.first_round)
    finally:
        features._write_states = write
    arrays = (found.tokens, found.pairs, found.labels)
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    return {
        "node": ray.get_runtime_context().get_node_id(),
        "computed": len(computed),
        "digest": digest,
        "is_shared": not any(array.flags.writeable or array.flags.owndata for array in arrays),
    }

with cluster(address):
    carrier = ObjectStoreCarrier.start()
    nodes = [node["NodeID"] for node in ray.nodes() if node["Resources"].get("CPU", 0) > 0]

    def start(node):
        place = NodeAffinitySchedulingStrategy(node, soft=False)
        return ray.remote(look).options(num_cpus=0, scheduling_strategy=place).remote(carrier)

    first = ray.get([start(node) for node in nodes for _ in range(2)])
    (place,) = [path.parent for path in Path(folder).glob("*/features.json")]
    (ref,) = ray.get(carrier.owner.find.remote(place.name))
    copies = ray.experimental.get_object_locations([ref])[ref]["node_ids"]
    shutil.rmtree(place)
    later = ray.get([start(node) for node in nodes for _ in range(2)])
    again = ray.experimental.get_object_locations([ref])[ref]["node_ids"]
    print(json.dumps({
        "nodes": nodes, "first": first, "later": later, "copies": copies, "again": again,
        "folder": [path.name for path in Path(folder).glob("[!.]*")],
    }))
"""


def test_computed_once_and_brought_to_each_node_once(
    raylets: Raylets,  # noqa: F811
    tiny_encoder: str,
    tmp_path: Path,
) -> None:
    for _ in range(2):
        raylets.start_worker()
    code, said = outcome(
        python(raylets, "-c", DRIVER, raylets.address, tiny_encoder, str(tmp_path / "features"))
    )
    assert code == 0, said
    found = json.loads(next(line for line in said.splitlines() if line.startswith('{"nodes"')))
    looks = found["first"] + found["later"]
    assert sum(look["computed"] for look in looks) == 1, "one of two nodes and eight tasks computed"
    assert found["folder"] == [], "the later ones had no folder to read"
    assert {look["node"] for look in looks} == set(found["nodes"])
    assert len({look["digest"] for look in looks}) == 1
    assert all(look["is_shared"] for look in found["later"])
    driver = set(found["copies"]) - set(found["nodes"])
    assert len(found["copies"]) == len(set(found["copies"])), "no node has two copies"
    assert sorted(found["again"]) == sorted([*found["nodes"], *driver]), "each node, and the owner's"

    study, ledger, alone = (tmp_path / name for name in ("s.toml", "c/ledger.sqlite", "a/ledger.sqlite"))
    study.write_text(STUDY.format(encoder=tiny_encoder))
    run = ("-m", "analysis", "run", str(study), "--ledger")
    remote = ("--address", raylets.address, "--ship-code")
    for words in ((*run, str(ledger), *remote), (*run, str(alone))):
        code, said = outcome(python(raylets, *words))
        assert code == 0, said
    assert content(ledger) == content(alone)
    built = [len(list(path.parent.glob("artifacts/features/*/features.json"))) for path in (ledger, alone)]
    assert built == [3, 3], "train, dev and test"


def python(nodes: Raylets, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words], env=nodes.environment, cwd=REPOSITORY,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
