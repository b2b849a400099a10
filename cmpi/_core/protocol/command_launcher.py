"""Frames between a running cmpirun and short commands: the one that mpiexec runs in place of ssh, and
`cmpirun --add-host`."""

from __future__ import annotations

from cmpi._core.protocol.launcher_agent import CommandEnded
from cmpi._core.protocol.wire import frame, registry

# -- command -> cmpirun -----------------------------------------------------------------


@frame
class RunThere:
    """Run this command on that host, and report its end by CommandEnded."""

    host: str
    argv: list[str]


@frame
class AddHosts:
    """Add these hosts to the job; they are written as for --host.

    `allocation` is the Slurm job that has them, if they are its nodes; they leave the job at GiveBack, or
    when this connection ends. "": they are reached like the others, and stay.
    """

    hosts: str
    allocation: str


@frame
class GiveBack:
    """Take the nodes of the allocation out of the job; answered by Added when their agents have ended."""


# -- cmpirun -> command -----------------------------------------------------------------


@frame
class Added:
    """The answer to AddHosts, after all have been tried: a line for each host that cannot be added."""

    faults: list[str]


TO_LAUNCHER = registry({110: RunThere, 126: AddHosts, 128: GiveBack})
TO_RSH_CLIENT = registry({107: CommandEnded})
TO_ADD_HOST = registry({127: Added})
