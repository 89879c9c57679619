"""The templates of `lai cluster`: by Ray's and Kubernetes' schemas, KubeRay's, and a Slurm of stand-ins.

Pods are held against Kubernetes' own schema, strictly; KubeRay's fields around them against a list by hand,
since its CRD is in no package. To hold the whole job against that, too, name KubeRay's file of it
(ray-operator/config/crd/bases/ray.io_rayjobs.yaml) in LAI_RAYJOB_CRD; so tried with 1.5.1, 1.6.2 and 1.7.0.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from analysis.__main__ import main
from tune.cluster.command import TEMPLATES


def printed(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main(["cluster", name])
    assert not end.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_asks_for_a_token_and_opens_no_dashboard(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(name, capsys)
    assert ("RAY_AUTH_MODE=token" in text) or ("mode: token" in text)
    assert "0.0.0.0" not in text
    heads = [line for line in text.splitlines() if "ray start --head" in line]
    assert all("--dashboard-host=127.0.0.1" in line or "--include-dashboard=false" in line for line in heads)


@pytest.mark.ray
def test_ray_up_file_is_one_that_ray_takes(capsys: pytest.CaptureFixture[str]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(printed("ray-up", capsys))
    validate_config(prepare_config(config))
    assert 1 + len(config["provider"]["worker_ips"]) == 3
    with pytest.raises(Exception, match="min_worker"):  # so the schema does look
        validate_config(prepare_config({**config, "min_worker": 2}))


def closed(**properties: Any) -> dict[str, Any]:
    """An object with these fields, all required, and no others."""
    needed = [name.removesuffix("_") for name in properties if not name.endswith("_")]
    named = {name.removesuffix("_"): schema for name, schema in properties.items()}
    return {
        "type": "object",
        "properties": named,
        "required": needed,
        "additionalProperties": False,
    }


TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
POD = closed(spec={"type": "object"})
START = {"type": "object", "additionalProperties": TEXT}
RAY_JOB = closed(
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=closed(name=TEXT),
    spec=closed(
        entrypoint=TEXT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"]},
        backoffLimit=COUNT,
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=COUNT,
        rayClusterSpec=closed(
            rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
            authOptions=closed(mode={"const": "token"}),
            headGroupSpec=closed(serviceType={"const": "ClusterIP"}, rayStartParams=START, template=POD),
            workerGroupSpecs={
                "type": "array",
                "items": closed(
                    groupName=TEXT,
                    replicas=COUNT,
                    minReplicas=COUNT,
                    maxReplicas=COUNT,
                    rayStartParams=START,
                    template=POD,
                ),
            },
        ),
    ),
)
"""The fields of KubeRay's RayJob v1 that are used, by hand."""


def strict(schema: Any) -> Any:
    """A CRD's schema that also refuses what it does not name, as the API server only warns of."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: strict(item) for name, item in schema.items()}
    if found.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
    is_open = found.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in found
    if isinstance(found.get("properties"), dict) and not is_open:
        found["additionalProperties"] = False
    return found


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_pods_of_the_ray_job_are_kubernetes_own(capsys: pytest.CaptureFixture[str]) -> None:
    for pod in pods(yaml.safe_load(printed("kuberay", capsys))):
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, **pod}
        kubernetes_validate.validate(whole, "1.37", strict=True)
        whole["spec"]["containers"][0]["volumeMount"] = []
        with pytest.raises(kubernetes_validate.ValidationError, match="volumeMount"):
            kubernetes_validate.validate(whole, "1.37", strict=True)


@pytest.mark.skipif("LAI_RAYJOB_CRD" not in os.environ, reason="LAI_RAYJOB_CRD names no CRD of KubeRay")
def test_ray_job_is_one_by_kuberays_crd(capsys: pytest.CaptureFixture[str]) -> None:
    crd = yaml.safe_load(Path(os.environ["LAI_RAYJOB_CRD"]).read_text())
    (schema,) = (item["schema"] for item in crd["spec"]["versions"] if item["name"] == "v1")
    crd_schema = strict(schema["openAPIV3Schema"])
    job = yaml.safe_load(printed("kuberay", capsys))
    assert list(Draft202012Validator(crd_schema).iter_errors(job)) == []
    job["spec"]["rayClusterSpec"]["authOption"] = {}
    assert list(Draft202012Validator(crd_schema).iter_errors(job)) != []


def test_ray_job_has_the_fields_of_its_kind(capsys: pytest.CaptureFixture[str]) -> None:
    job = yaml.safe_load(printed("kuberay", capsys))
    assert list(Draft202012Validator(RAY_JOB).iter_errors(job)) == []
    for pod in pods(job):
        mounted = {item["name"] for box in pod["spec"]["containers"] for item in box["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
    job["spec"]["rayClusterSpec"]["authOption"] = {}
    assert list(Draft202012Validator(RAY_JOB).iter_errors(job)) != []


STAND_INS = {
    "scontrol": "printf 'a\\nb\\n'",
    # a step: what it runs is told; here it is on no other host
    "srun": """
while [[ $1 == -* ]]; do echo "$1" >> "$LOG.options"; shift; done
echo "$*" >> "$LOG"
exec "$@\"""",
    "python3": "exit 1",  # a host without grpc
    # a node lasts until it is killed; a head tells its address
    "ray": """
[[ $2 != --head ]] || { mkdir "$RAY_TMPDIR" && printf 127.0.0.1:4242 > "$RAY_TMPDIR/ray_current_cluster"; }
exec sleep 60""",
    "lai": """
[[ $1 != cluster ]] || exit "$GATE"
trap 'exit 3' TERM
[[ $DRIVER == lasts ]] || exit "$DRIVER"
touch "$LOG.up"
while :; do sleep 0.1; done""",
}


class SlurmJob:
    """The script as a job on two hosts; what `stand_ins` does not name is real."""

    def __init__(
        self, script: Path, number: int, stand_ins: dict[str, str], *words: str, **told: str
    ) -> None:
        self.mine, self.log = Path(f"/tmp/lai-{number}"), script.with_name(f"log-{number}")
        places = script.with_name(f"bin-{number}")
        places.mkdir()
        for name, body in stand_ins.items():
            (places / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
            (places / name).chmod(0o755)
        job = {"SLURM_JOB_ID": str(number), "SLURM_JOB_NODELIST": "a,b", "SLURM_JOB_NUM_NODES": "2"}
        path = f"{places}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, **job, "LOG": str(self.log), **told, "PATH": path}
        command = [
            "bash",
            str(script),
            "study.toml",
            "ledger.sqlite",
            str(script.parent),
            "--budget-hours",
            "1",
            *words,
        ]
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def term(self) -> None:
        """What Slurm sends before the time is over."""
        self._process.terminate()

    def wait(self, seconds: float) -> tuple[int, str]:
        """Its exit code and what it said."""
        _, err = self._process.communicate(timeout=seconds)
        return self._process.returncode, err

    def end(self, seconds: float) -> tuple[int, list[str], str]:
        """Its exit code, its steps, and what it said."""
        code, err = self.wait(seconds)
        return code, self.log.read_text().splitlines(), err


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "slurm.sh"
    path.write_text(printed("slurm", capsys))
    return path


def test_slurm_job_starts_the_nodes_looks_at_them_and_runs(script: Path) -> None:
    job = SlurmJob(script, os.getpid(), STAND_INS, GATE="0", DRIVER="3")
    code, steps, err = job.end(50)
    assert code == 3, f"as the driver ended: {err}"
    (head,) = [step for step in steps if step.startswith("ray start --head")]
    (nodes,) = [step for step in steps if step.startswith("ray start --block")]
    assert {*ports_of(head), *ports_of(nodes)} == {0}, "none is fixed"
    assert "--address=127.0.0.1:4242 " in nodes
    assert f"--temp-dir={job.mine}/ray" in head
    gate, driver = [step for step in steps if step.startswith("lai ")]
    assert gate == f"lai cluster check --address 127.0.0.1:4242 --nodes 2 --storage {script.parent}"
    assert driver == (
        f"lai run study.toml --ledger ledger.sqlite --storage {script.parent} --address 127.0.0.1:4242 "
        "--budget-hours 1"
    )
    assert not re.search(r"[0-9a-f]{64}", "\n".join(steps)), "the token is no word of a command"
    assert not job.mine.exists()


def test_slurm_job_ships_code_to_the_gate_as_to_the_driver(script: Path) -> None:
    job = SlurmJob(script, os.getpid(), STAND_INS, "--ship-code", GATE="0", DRIVER="0")
    _, steps, _ = job.end(50)
    gate, driver = [step for step in steps if step.startswith("lai ")]
    assert gate.endswith(f" --nodes 2 --storage {script.parent} --ship-code")
    assert driver.endswith(" --budget-hours 1 --ship-code")


def ports_of(step: str) -> list[int]:
    return [int(port) for port in re.findall(r"port=(\d+)", step)]


def test_slurm_job_keeps_to_a_block_of_ports(script: Path) -> None:
    told = {"GATE": "0", "DRIVER": "0", "LAI_PORTS": "21000-21200"}
    _, steps, err = SlurmJob(script, os.getpid(), STAND_INS, **told).end(50)
    head, nodes = (step for step in steps if step.startswith("ray start"))
    assert ports_of(head) == [21000, *ports_of(nodes)], err
    assert ports_of(nodes) == [*range(21002, 21009), 21200]


@pytest.mark.parametrize(("block", "expected"), [("", 31999), ("21000-21200", 21001)])
def test_slurm_job_gives_rays_clients_a_port_of_its_own(script: Path, block: str, expected: int) -> None:
    has_grpc = {"python3": '[[ $2 == "import grpc" ]] || echo 31999'}
    told = {"GATE": "0", "DRIVER": "0", "LAI_PORTS": block}
    _, steps, err = SlurmJob(script, os.getpid(), STAND_INS | has_grpc, **told).end(50)
    (head,) = [step for step in steps if step.startswith("ray start --head")]
    assert f"--ray-client-server-port={expected} " in head, err


@pytest.mark.parametrize(
    ("block", "cpus", "needed"),
    [
        *((block, 1, 102) for block in ("21000", "21200-21000", "21000-21100", "a-b", "1000-2000")),
        *((block, 8, 116) for block in ("65000-99999", "08000-09000")),
        ("21000-21354", 128, 356),
    ],
)
def test_slurm_job_refuses_what_is_no_block_of_ports(
    script: Path, block: str, cpus: int, needed: int
) -> None:
    told = {"GATE": "0", "DRIVER": "0", "LAI_PORTS": block, "SLURM_CPUS_PER_TASK": str(cpus)}
    code, err = SlurmJob(script, os.getpid(), STAND_INS, **told).wait(50)
    assert code == 2
    assert err == f"LAI_PORTS={block}: a block is FIRST-LAST, {needed} ports or more from 1024 to 65535\n"


LISTENING = """
import contextlib, json, os, ray, psutil  # psutil is Ray's
ray.init(open(os.environ["RAY_TMPDIR"] + "/ray_current_cluster").read())  # "auto" may find another's
found, own = [], {psutil.Process()}
for process in psutil.process_iter():
    with contextlib.suppress(psutil.NoSuchProcess):  # gone meanwhile
        if os.environ["RAY_TMPDIR"] in " ".join(process.cmdline()):
            for each in {process, *process.children(recursive=True)} - own:
                found += [c.laddr.port for c in each.net_connections("tcp") if c.status == "LISTEN"]
print(json.dumps(sorted(set(found))))
"""


@pytest.mark.slow
@pytest.mark.ray
def test_ray_itself_keeps_to_the_block(script: Path) -> None:
    look = script.with_name("look.py")
    look.write_text(LISTENING)
    real = {name: STAND_INS[name] for name in ("scontrol", "srun")}
    real["lai"] = f"""
[[ $1 != cluster ]] || exec {sys.executable} -m analysis "$@"
{sys.executable} {look} > "$LOG.listening\""""
    first = 20000 + os.getpid() % 60 * 200  # below what the system gives to clients
    one = {"SLURM_JOB_NUM_NODES": "1", "SLURM_CPUS_PER_TASK": "1", "LAI_PORTS": f"{first}-{first + 199}"}
    job = SlurmJob(script, os.getpid(), real, **one)
    code, _, err = job.end(200)
    assert code == 0, err
    listening = json.loads(Path(f"{job.log}.listening").read_text().splitlines()[-1])
    assert first in listening
    assert len(listening) > 3
    assert [port for port in listening if not first <= port < first + 200] == []


def test_slurms_term_reaches_the_driver_and_its_exit_code_is_the_jobs(script: Path) -> None:
    job = SlurmJob(script, os.getpid(), STAND_INS, GATE="0", DRIVER="lasts")
    while not Path(f"{job.log}.up").exists():
        time.sleep(0.05)
    job.term()
    code, _, err = job.end(50)
    assert code == 3, err
    assert not job.mine.exists()


def test_slurm_job_runs_nothing_if_the_gate_is_shut(script: Path) -> None:
    job = SlurmJob(script, os.getpid(), STAND_INS, GATE="2", DRIVER="0")
    code, steps, _ = job.end(50)
    assert code == 2
    assert not any(step.startswith("lai run") for step in steps)
    assert not job.mine.exists()


@pytest.mark.slow
@pytest.mark.ray
def test_two_slurm_jobs_on_the_same_hosts_are_two_clusters(script: Path) -> None:
    """With Ray itself; the drivers wait for each other, so that both clusters are up at once."""
    real = {name: STAND_INS[name] for name in ("scontrol", "srun")}
    real["lai"] = f"""
[[ $1 != cluster ]] || exec {sys.executable} -m analysis "$@"
stat --format=%a "$(dirname "$RAY_TMPDIR")" >> "$LOG.mode"
touch "{script.parent}/up-$SLURM_JOB_ID"
for _ in {{1..120}}; do (($(ls {script.parent}/up-* | wc -l) == 2)) && exit 0; sleep 1; done
exit 1"""
    numbers = (os.getpid(), os.getpid() + 1)
    jobs = [SlurmJob(script, number, real, SLURM_CPUS_PER_TASK="1") for number in numbers]
    ended = [job.end(400) for job in jobs]
    assert [(code, err) for code, _, err in ended if code] == []
    drivers = [step for _, steps, _ in ended for step in steps if step.startswith("lai run")]
    assert len({re.findall(r"--address (\S+)", step)[0] for step in drivers}) == 2
    assert [Path(f"{job.log}.mode").read_text() for job in jobs] == ["700\n"] * 2
    assert not any(job.mine.exists() for job in jobs)
