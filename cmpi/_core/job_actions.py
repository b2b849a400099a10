"""What the `Job` machine has the root's shell do."""

from __future__ import annotations

from cmpi._core import frames
from cmpi._core.record import record


@record
class Order:
    """Action: send a frame to the monitor of a process."""

    pid: int
    frame: object


@record
class Launch:
    """Action: have MPI start one process for each pid, as one world; `forked` by the fork server."""

    start: int
    pids: list[int]
    host: str
    forked: bool


@record
class LaunchWorld:
    """Action: have MPI start ranks on several hosts, as one world."""

    start: int
    hosts: list[str]  # of each


@record
class NeedForkServer:
    """Action: somebody may spawn; start that host's fork server, in this interpreter. Asked for once."""

    host: str
    python: str


@record
class Preload:
    """Action: have the fork servers load these modules."""

    frame: frames.Preload


@record
class Born:
    """Action: show that a process was started."""

    pid: int


@record
class Died:
    """Action: show that a process has ended."""

    pid: int


@record
class Say:
    """Action: tell the person this, in a line of its own."""

    text: str


@record
class Finish:
    """Action: everything has ended; report, and leave with this code."""

    code: int
