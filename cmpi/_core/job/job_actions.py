"""Actions of the job's state machine, which the root carries out."""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi._core.job.interpreter import Interpreter
from cmpi._core.protocol import process_root
from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias


@frozen
class Tell:
    """Action: send a frame to a process."""

    pid: int
    frame: object


@frozen
class Order:
    """Action: send a frame to the monitor of a process."""

    pid: int
    frame: object


@frozen
class Launch:
    """Action: have MPI start one process for each pid, as one world; `forked`: by the fork server.

    If `in_slot`, run the only process in a slot of the host (see `slots.py`).
    """

    start: int
    pids: list[int]
    host: str
    forked: bool
    in_slot: bool = False


@frozen
class LaunchWorld:
    """Action: have MPI start ranks on several hosts, as one world."""

    start: int
    hosts: list[str]  # the host of each rank


@frozen
class NeedForkServer:
    """Action: start a fork server with this interpreter on the host, because a process may spawn there.
    Sent once."""

    host: str
    interpreter: Interpreter


@frozen
class TellPreload:
    """Action: have the fork servers load these modules."""

    frame: process_root.Preload


@frozen
class BeginProcess:
    """Action: have a process's monitor start it; `settings` go into its environment unless already set
    there."""

    pid: int
    settings: list[str]


@frozen
class Born:
    """Action: show that a process was started."""

    pid: int


@frozen
class Named:
    """Action: show a process under this name, unless it got a name when it was spawned."""

    pid: int
    name: str


@frozen
class Died:
    """Action: show that a process has ended."""

    pid: int


@frozen
class Forget:
    """Action: nothing more will be reported or asked about these processes."""

    pids: list[int]


@frozen
class Say:
    """Action: print a line for the user on the terminal of the program that `pid` belongs to (NO_PID: the
    job's own)."""

    text: str
    pid: int = NO_PID


@frozen
class FinishJob:
    """Action: everything has ended; print the report, and exit with this code."""

    code: int


@frozen
class FinishProgram:
    """Action: all processes of the program deployed by this cmpirun have ended; `code` is its exit code."""

    owner: int
    code: int


if TYPE_CHECKING:
    Action: TypeAlias = (
        "Tell | Order | BeginProcess | Launch | LaunchWorld | NeedForkServer | TellPreload | Born | Named"
        " | Died | FinishJob | FinishProgram | Forget | Say"
    )
