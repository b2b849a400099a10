"""Chooses whether channels between hosts go through MPI. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

TCP, MPI, AUTO = MODES = ("tcp", "mpi", "auto")


def hosts(mode: str, seen: Mapping[str, str]) -> list[str]:
    """The hosts that get a fabric agent: at least two, or none.

    Args:
        mode: The value of --fabric.
        seen: By host, the fast network that was seen there; "": none.

    >>> hosts("auto", {"a": "mlx5_0 port 1: ACTIVE", "b": "mlx5_0 port 1: ACTIVE", "c": ""})
    ['a', 'b']
    >>> hosts("auto", {"a": "", "b": ""}), hosts("mpi", {"a": "", "b": ""})
    ([], ['a', 'b'])
    """
    fit = [host for host, fabric in seen.items() if mode == MPI or (mode == AUTO and fabric)]
    return fit if len(fit) > 1 else []


def fabric(infiniband: Mapping[str, str], cxi: list[str]) -> str:
    """The fast network of a host in words; "": it has none that works.

    Args:
        infiniband: By "CARD/ports/PORT", the content of the port's `state`. InfiniBand, RoCE, Omni-Path and
            EFA are all listed there.
        cxi: The names of Slingshot's cards.

    >>> fabric({"mlx5_0/ports/1": "4: ACTIVE", "mlx5_1/ports/1": "1: DOWN"}, ["cxi0"])
    'mlx5_0 port 1, cxi0'
    """
    active = [
        port.replace("/ports/", " port ")
        for port, state in infiniband.items()
        if state.strip() == "4: ACTIVE"
    ]
    return ", ".join([*active, *cxi])
