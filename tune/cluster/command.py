"""`lai cluster`: templates that start a Ray cluster, and the health gate by itself. Ray loads late."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from tune.cluster.options import PLACE, InsecureOption, ShipOption

TEMPLATES = {"ray-up": "ray-up.yaml", "slurm": "slurm.sh", "kuberay": "kuberay.yaml"}

app = typer.Typer(no_args_is_help=True, help="Templates that start a Ray cluster, and a look at one.")


def _print(name: str) -> None:
    typer.echo(files("tune.cluster").joinpath("templates", TEMPLATES[name]).read_text("utf-8"), nl=False)


@app.command("ray-up")
def ray_up() -> None:
    """Print a `ray up` file for three hosts of your own with a GPU each."""
    _print("ray-up")


@app.command()
def slurm() -> None:
    """Print a script for `sbatch`, with a Ray of its own in each job."""
    _print("slurm")


@app.command()
def kuberay() -> None:
    """Print a RayJob for Kubernetes with the KubeRay operator."""
    _print("kuberay")


@app.command()
def check(
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Head of a running Ray cluster.")],
    storage: Annotated[str, typer.Option(metavar=PLACE, help="A folder or store that all nodes must reach.")],
    nodes: Annotated[int, typer.Option(min=1, help="Wait for so many nodes.")] = 1,
    wait_minutes: Annotated[float, typer.Option(min=0, help="How long at most.")] = 5,
    gpus: Annotated[bool, typer.Option("--gpus", help="Torch must see the GPUs of nodes with some.")] = False,
    insecure_cluster: InsecureOption = False,
    ship_code: ShipOption = False,
) -> None:
    """Wait for the nodes of a cluster and look at each as `lai run` does; exit 2 if one is no good."""
    from tune.artefacts.storage import storage_at
    from tune.cluster.connection import cluster
    from tune.cluster.gate import Requirements, check_nodes, wait_for_nodes
    from tune.code_identity import code_identity

    with cluster(address, insecure=insecure_cluster, ship_code=ship_code):
        wait_for_nodes(nodes, patience_s=60 * wait_minutes)
        count = check_nodes(Requirements(code_identity(), {}, storage_at(storage), str(Path.cwd()), gpus))
    typer.echo(f"{count} nodes are ready")
