"""Frames between cmpirun and its agent on another host, over the agent's stdin and stdout.

Each connection to the root's socket on that host, and the output of each command there, is a numbered
channel. The side that opens a channel chooses its number: even for the agent, odd for cmpirun.
"""

from __future__ import annotations

from cmpi._core.protocol.wire import U8, U32, U64, frame, keyword_frame, registry

# Precedes the first frame; the agent's version follows up to the end of the line. Whatever a login prints
# comes before it.
GREETING = b"\ncmpi agent "
PIECE_BYTES = 256 * 1024
BEAT_S = 1.0
LOST_S = 8.0  # unless --host-timeout says otherwise
LEAVE_LATER_S = 4.0  # agents wait this much longer than cmpirun, whose clock decides which host is lost
SHELL = "/bin/sh"  # the first word of a command for a shell

# -- agent -> cmpirun -------------------------------------------------------------------


@keyword_frame
class HostFacts:
    """The agent is ready; the facts about its host."""

    node: str
    cmpi: str
    python: str  # version
    executable: str
    mpi4py: str
    home: str  # the folder that cmpi is imported from
    mpi: list[str]  # kind, version and path of mpiexec; or the reason why there is none
    cpu_units: U64
    memory_bytes: U64
    cores: list[U64]
    # The address at which other hosts reach it, a blank, and the one at which it reaches cmpirun's host; ""
    # if ssh does not tell.
    address: str
    superuser: bool
    rdma: bool = False  # whether there is an RDMA network card
    fabric: str = ""  # the fast networks that it has, in words
    temporary: str = ""  # why the job's folder cannot be made in TMPDIR; "": it can
    shared_memory_bytes: U64 = 0  # free bytes in /dev/shm
    machine: str = ""  # identifies the machine: the same under all its names
    path: list[str] = []  # where it looks for modules
    interfaces: list[str] = []  # its network interfaces with their addresses: "eth0=10.0.0.2"


@frame
class Begun:
    """The answer to Begin: "", or why the agent cannot begin; and whether the program is there."""

    fault: str
    has_program: bool


@frame
class Came:
    """A process has connected to the root's socket and proved itself: the channel of this number."""

    channel: U32


@frame
class CommandEnded:
    """The command of this channel has ended."""

    channel: U32
    code: U8


@frame
class Looked:
    """The answer to Look: whether the file is there."""

    found: bool


@frame
class Unpacked:
    """The answer to the last Unpack: "", or why it failed."""

    fault: str


# -- either way -------------------------------------------------------------------------


@frame
class Piece:
    """Bytes of a channel."""

    channel: U32
    data: bytes


@frame
class Shut:
    """Nothing follows on this channel."""

    channel: U32


@frame
class Beat:
    """A heartbeat, sent by each side every `BEAT_S`. Without it, cmpirun takes the host for lost, and the
    agent ends a while later."""


# -- cmpirun -> agent -------------------------------------------------------------------


@keyword_frame
class Begin:
    """Begin a job: make its folders, and listen in the root's place."""

    folder: str
    shared_memory: str
    environment: list[str]  # "NAME=value"
    cwd: str
    program: str  # a file: the answer says whether it is there; or ""
    key: bytes  # the job's secret
    lost_s: float  # seconds without anything from cmpirun, after which the agent ends


@frame
class Run:
    """Run a command with these additional settings; its output comes back on the channel."""

    channel: U32
    argv: list[str]
    settings: list[str]


@frame
class Look:
    """Is this file there?"""

    program: str


@frame
class Unpack:
    """A piece of an archive to unpack to `there`; `last` marks the last piece. It replaces `folder` for the
    whole job; "": only for one deployment."""

    folder: str
    there: str
    data: bytes
    last: bool


@frame
class EndAgent:
    """The job is over: end everything that runs, remove its files, and exit."""


TO_LAUNCHER = registry(
    {
        100: HostFacts,
        102: Begun,
        103: Came,
        104: Piece,
        105: Shut,
        107: CommandEnded,
        108: Beat,
        124: Unpacked,
        186: Looked,
    }
)
TO_AGENT = registry(
    {
        101: Begin,
        104: Piece,
        105: Shut,
        106: Run,
        108: Beat,
        109: EndAgent,
        111: Unpack,
        185: Look,
    }
)
