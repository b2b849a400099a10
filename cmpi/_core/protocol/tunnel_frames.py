"""The frames between cmpirun and its agent on another host, over the agent's stdin and stdout.

A connection to the root's socket on that host, and what a command there writes, go over numbered
channels, of which the side that opens one chooses the number: even for the agent, odd for cmpirun.
"""

from __future__ import annotations

from cmpi._core.protocol.wire import frame

GREETING = b"\ncmpi agent 1\n"  # in front of the first frame: what a login prints comes before it
PIECE_BYTES = 256 * 1024


@frame(100, "ssssssSQQLsBS")
class HostFacts:
    """The agent stands ready; what there is on the host.

    `address` is where other hosts reach it, behind that where it reaches cmpirun's.
    """

    node: str
    cmpi: str
    python: str  # version
    executable: str
    mpi4py: str
    home: str  # the folder that cmpi is imported from
    mpi: list[str]  # kind, version and path of mpiexec; or the reason why there is none
    cpu_units: int
    memory_bytes: int
    cores: list[int]
    address: str  # and the other, with a blank between; "" if ssh does not say
    superuser: int
    path: list[str] = []  # where it looks for modules


@frame(101, "ssSssy")
class Begin:
    """A job: make its folders, and listen there in the root's place."""

    folder: str
    shared_memory: str
    environment: list[str]  # "NAME=value"
    cwd: str
    program: str  # a file, and whether it is there is to be told; or ""
    key: bytes  # the job's secret


@frame(102, "s?")
class Begun:
    """Done, or why it cannot be; and whether the program is there."""

    fault: str
    has_program: bool


@frame(103, "I")
class Came:
    """Somebody has connected to the root's socket: the channel of this number."""

    channel: int


@frame(104, "Iy")
class Piece:
    """Bytes of a channel."""

    channel: int
    data: bytes


@frame(105, "I")
class Shut:
    """Nothing follows on this channel."""

    channel: int


@frame(106, "ISS")
class Run:
    """Run a command, with these settings besides; what it writes comes back by the channel."""

    channel: int
    argv: list[str]
    settings: list[str]


@frame(107, "IB")
class CommandEnded:
    """The command of that channel has ended."""

    channel: int
    code: int


@frame(108, "")
class Beat:
    """I am there. Each side says so every `BEAT_S`, and takes the other for lost without it."""


@frame(109, "")
class EndAgent:
    """The job is over: end all that runs, remove what it left, and go."""


@frame(110, "sS")
class RunThere:
    """From what mpiexec takes for ssh, to cmpirun: run this on that host, and tell me how it ends."""

    host: str
    argv: list[str]


@frame(126, "s")
class AddHosts:
    """From another cmpirun, to that of a job: take these hosts in as well, written as for --host."""

    hosts: str


@frame(127, "S")
class Added:
    """The answer: a line for each host that cannot be taken in, when all have been tried."""

    faults: list[str]


@frame(111, "ssy?")
class Unpack:
    """A piece of an archive to unpack to `there`, in place of `folder`; `last` ends it."""

    folder: str
    there: str
    data: bytes
    last: bool


@frame(124, "s")
class Unpacked:
    """Done, or why it cannot be."""

    fault: str


BEAT_S = 1.0
LOST_S = 8.0
