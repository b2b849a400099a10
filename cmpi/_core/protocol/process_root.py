"""Frames between a process and the root: joining the job, starting processes, ends of processes.

They travel as pieces of the monitor's stream (see `monitor_root`). Three groups of frames have their own
modules: `process_root_connections`, `process_root_links` and `process_root_waits`. Process ids travel as
their plain number.
"""

from __future__ import annotations

from cmpi._core.protocol import process_root_connections, process_root_links, process_root_waits
from cmpi._core.protocol.wire import U8, U32, U64, frame, keyword_frame, registry
from cmpi.identifiers import NO_PID

# Whether two processes share memory. LIKELY: the other has not joined, and is on the same host.
MEMORY_UNKNOWN, MEMORY_SHARED, MEMORY_APART, MEMORY_LIKELY = 0, 1, 2, 3

# -- process -> root --------------------------------------------------------------------


@keyword_frame
class JoinJob:
    """This process uses cmpi; it may ask for resources.

    `memory` identifies the shared memory folder that it sees: equal for processes that see the same one.
    """

    memory: str
    python: str  # its interpreter, which its children inherit, and below how that was started
    asks: bool = False  # for the resources below
    cpu_units: U64 = 0
    memory_bytes: U64 = 0
    asks_memory: bool = False
    flags: list[str] = []
    settings: list[str] = []  # see `Interpreter`


@keyword_frame
class Spawn:
    """Start a closure, in one process or in `n` of one world. Unless it is `inline`, the closure follows on
    the first channel.

    `cpu_units` and `memory_bytes` have their defaults if they were not asked for.
    """

    request: U32
    cpu_units: U64
    memory_bytes: U64
    label: str
    closure: bytes
    context: bytes
    inline: bool = True
    wait: bool = True  # for room; otherwise it is refused if there is none
    asks_cpus: bool = False
    asks_memory: bool = False
    tie: U8 = 0  # to the process that spawns it: see `erlang_links`
    host: str = ""  # where it must run; "": anywhere
    near: U32 = NO_PID  # preferably on this process's host
    pack: bool = False
    n: U32 = 1
    mpi: bool = False  # start MPI before the closure runs
    name: str = ""  # the new process's name for people
    flags: list[str] = []  # of the interpreter, if they differ from those in JoinJob
    settings: list[str] = []
    detached: bool = False  # it belongs to the job, not to the guest or deployment that spawns it


@frame
class Cancel:
    """The caller has stopped waiting for this request."""

    request: U32


@frame
class Watch:
    """Tell me when this process has ended."""

    pid: U32


@frame
class Kill:
    """Send a signal to another process."""

    pid: U32
    signal: U8


@frame
class AskCapacity:
    """Asks for the job's resources, in total and free."""

    request: U32


@frame
class AskFailures:
    """Asks which processes of the sender's guest have failed (of the job, if it belongs to no guest)."""

    request: U32


@frame
class Preload:
    """Modules to load into the fork server, and where to look for them."""

    modules: list[str]
    path: list[str]


@frame
class LookedAt:
    """The sender has received the end or the failure of this process and deals with it; or, not `handled`,
    ends because of it after all."""

    pid: U32
    handled: bool


@frame
class Raised:
    """The function raised; the exit code follows."""

    summary: str
    trace: str


# -- root -> process --------------------------------------------------------------------


@keyword_frame
class Welcome:
    """The receiver's identity. A parent of NO_PID: the launcher started it.

    `bells` is the folder of the doorbells. A process may use `shared_memory_bytes` to send to each other
    process; with 0 everything goes by MPI or sockets. `memory` is as in Alive, about the parent.
    """

    pid: U32
    parent: U32
    rank: U32
    world: list[U64]
    cpu_units: U64
    memory_bytes: U64
    bells: str
    shared_memory_bytes: U64
    memory: U8
    cores: list[U64]
    nice: U8
    linked: list[U64]  # by Erlang's links
    deadline_s: float  # as in LaunchJob
    promised_bytes: U64 = 0  # the memory that it has asked for


@frame
class Spawned:
    """There is room; these are the new processes, which are being started."""

    request: U32
    pids: list[U64]


@frame
class Refused:
    """There is no process for this request, now or ever."""

    request: U32
    never: bool
    reason: str


@keyword_frame
class Ended:
    """A watched process has ended."""

    pid: U32
    code: U8
    signal: U8
    verdict: str
    requested: bool


@frame
class Alive:
    """The answer to Watch: the process is running, and the receiver will be told of its end.

    Sent again when the process joins, if it had not: only then is it known whether the two share memory.
    """

    pid: U32
    memory: U8
    promised_bytes: U64 = 0  # the memory that it has asked for


@keyword_frame
class CapacityIs:
    """The answer to AskCapacity."""

    request: U32
    total_cpu_units: U64
    total_memory_bytes: U64
    free_cpu_units: U64
    free_memory_bytes: U64


@keyword_frame
class FailuresAre:
    """The answer to AskFailures: failures that no process has dealt with, in the order in which they
    occurred."""

    request: U32
    pids: list[U64]
    names: list[str]
    codes: list[U64]
    signals: list[U64]
    verdicts: list[str]


@frame
class Closure:
    """The closure to run."""

    closure: bytes
    context: bytes
    inline: bool
    settings: list[str] = []  # for its environment as a rank of a world, unless set


TO_ROOT = registry(
    {
        30: JoinJob,
        31: Spawn,
        32: Cancel,
        33: Watch,
        34: Kill,
        35: AskCapacity,
        36: Preload,
        39: Raised,
        41: LookedAt,
        132: AskFailures,
        **process_root_connections.TO_ROOT,
        **process_root_links.TO_ROOT,
        **process_root_waits.TO_ROOT,
    }
)
TO_PROCESS = registry(
    {
        50: Welcome,
        51: Spawned,
        52: Refused,
        53: Ended,
        54: CapacityIs,
        59: Closure,
        60: Alive,
        134: FailuresAre,
        **process_root_connections.TO_PROCESS,
        **process_root_links.TO_PROCESS,
        **process_root_waits.TO_PROCESS,
    }
)
