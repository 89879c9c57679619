"""What the command line says of a cluster; loads no Ray."""

from dataclasses import dataclass
from typing import Annotated

import typer

from lai_net.errors import InputError

AddressOption = Annotated[
    str | None, typer.Option("--address", metavar="HOST:PORT", help="Head of a running Ray cluster.")
]
InsecureOption = Annotated[
    bool, typer.Option("--insecure-cluster", help="Join also a cluster that asks for no token.")
]
ShipOption = Annotated[
    bool, typer.Option("--ship-code", help="Send our packages to the nodes, in place of what they have.")
]
PLACE = "DIR|URI"
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar=PLACE,
        help="For artefacts from now on: a folder that all nodes share, or a store such as s3://BUCKET/STUDY.",
    ),
]


@dataclass(frozen=True)
class Remote:
    """How to join a cluster.

    Attributes:
        address: HOST:PORT of its head.
        insecure: join also a cluster that asks nobody for a token.
        ship_code: send our packages to the nodes.
    """

    address: str
    insecure: bool = False
    ship_code: bool = False


def remote_of(address: str | None, *, insecure: bool, ship_code: bool) -> Remote | None:
    """The cluster that was named; None for this machine alone.

    Raises:
        InputError: an option of a cluster without one.
    """
    if address is not None:
        return Remote(address, insecure, ship_code)
    if insecure or ship_code:
        raise InputError("--insecure-cluster and --ship-code are for a cluster; add --address HOST:PORT")
    return None
