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
    """Add these hosts to the job; they are written as for --host."""

    hosts: str


# -- cmpirun -> command -----------------------------------------------------------------


@frame
class Added:
    """The answer to AddHosts, after all have been tried: a line for each host that cannot be added."""

    faults: list[str]


TO_LAUNCHER = registry({110: RunThere, 126: AddHosts})
TO_RSH_CLIENT = registry({107: CommandEnded})
TO_ADD_HOST = registry({127: Added})
