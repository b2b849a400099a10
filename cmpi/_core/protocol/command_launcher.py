"""Frames between a running cmpirun and other commands: the one that mpiexec runs in place of ssh, `cmpirun
--add-host`, and `cmpirun --in`, which may have to copy its program to the other hosts of the job."""

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


@frame
class AskLacking:
    """Which other hosts lack this file? "": all of them are asked for."""

    program: str


@frame
class CopyFolder:
    """Unpack the archive, whose descriptor comes with this frame, to `there` on these hosts; and on a host
    that comes back or is added, if it lacks `program` ("": in any case).

    The copies are removed when this connection ends; if `keep`, when the job ends.
    """

    hosts: list[str]
    program: str
    there: str
    keep: bool


# -- cmpirun -> command -----------------------------------------------------------------


@frame
class Added:
    """The answer to AddHosts, after all have been tried: a line for each host that cannot be added."""

    faults: list[str]


@frame
class Lacking:
    """The answer to AskLacking."""

    hosts: list[str]


@frame
class FolderCopied:
    """The answer to CopyFolder: a line for each host where that failed."""

    faults: list[str]


TO_LAUNCHER = registry({110: RunThere, 126: AddHosts, 128: GiveBack, 188: AskLacking, 189: CopyFolder})
TO_RSH_CLIENT = registry({107: CommandEnded})
TO_ADD_HOST = registry({127: Added})
TO_DEPLOYING = registry({190: Lacking, 191: FolderCopied})
