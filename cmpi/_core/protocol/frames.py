"""Every control frame, by who sends it. `wire.py` turns them into bytes and back.

These are the control frames, which go over sockets; `helper_frames.py` has those of the root's helpers,
`relation_frames.py` and `wait_frames.py` those of two subjects of their own,
`connection_frames.py` what two processes send to each other, `launcher_frames.py` those of what MPI's
launcher prints.
Process ids travel as their plain number.
"""

from __future__ import annotations

from cmpi._core.protocol.wire import frame

# -- launcher -> root -------------------------------------------------------------------


RESULT_CHANNEL = "\0result"  # the name of the channel for what a function has returned
CLOSURE_CHANNEL = "\0closure"  # the name of the channel for a closure that does not fit into a request


@frame(1, "SSSssBBBsQQQQs?sydd?")
class LaunchJob:
    """What to run, with which settings; sent with the terminal's three descriptors."""

    argv: list[str]
    settings: list[str]  # "NAME=value", for the ranks' environment alone
    where: list[str]  # the host of each rank
    cwd: str
    output: str
    colour: int
    one_place: int  # stdout and stderr end in the same place
    verbosity: int  # which starts and ends are shown, and how much is reported: see `output`
    output_dir: str
    cpu_units: int  # 0: whatever this job may use
    memory_bytes: int  # 0: likewise
    rank_cpu_units: int  # that each rank holds of these
    shared_memory_bytes: int  # that one process may share with another; 0: none
    enforce: str  # "none", "warn" or "kill" those that use too much memory; "": as they asked
    check_deadlock: bool  # end the job when all its processes wait for each other
    here: str  # the name of the root's own host
    hosts: bytes  # HostIs frames; none: the root's own is all there is
    deadline_s: float  # when the job will be ended, in seconds since 1970; 0: never
    grace_s: float  # between the first signal and SIGKILL, when the user ends the job
    strict: bool  # a failure counts though another process has looked at it


@frame(4, "")
class ShowStacks:
    """The person wants to see what all processes do."""


@frame(2, "B")
class Interrupt:
    """The person wants the job to end, by this signal."""

    signal: int


# -- root -> launcher -------------------------------------------------------------------


@frame(3, "B")
class Final:
    """All output is printed; this is cmpirun's exit code."""

    code: int


# -- monitor -> root --------------------------------------------------------------------


@frame(10, "IIIssH")
class MonitorUp:
    """A monitor stands ready. `port` completes the spawn it belongs to.

    Of rank 0, `service_port` and the next one are free: for what the ranks of that world set up themselves.
    """

    start: int
    rank: int
    os_pid: int
    host: str
    port: str
    service_port: int = 0


@frame(11, "By")
class Output:
    """Bytes that the process wrote to descriptor 1 or 2; none: that descriptor is closed."""

    fd: int
    data: bytes


@frame(12, "BB??Qds")
class ProcessExited:
    """The process has ended, and all that it wrote itself was sent before this."""

    code: int
    signal: int
    by_launcher: bool  # the MPI launcher told the monitor to end it
    by_kernel: bool  # it was killed, as was somebody by the kernel for want of memory
    peak_rss_bytes: int
    cpu_s: float
    core: str  # where the kernel has put a core dump, if it made one


@frame(13, "y")
class FromRank:
    """A piece of the process's own stream of frames."""

    data: bytes


@frame(14, "I")
class StdinTaken:
    """That much input was passed on; as much more may come."""

    nbytes: int


@frame(15, "s")
class CannotRun:
    """The program could not be started; an Exited follows."""

    reason: str


# -- root -> monitor --------------------------------------------------------------------


@frame(16, "Q?s")
class OverMemory:
    """The process uses more memory than it was granted, and is ended or only warned of."""

    used_bytes: int
    ended: bool
    at: str  # the time of day


@frame(20, "ISSsBS")
class StartProcess:
    """Start this program, with these settings ("NAME=value"; "NAME": unset) on top of the environment."""

    pid: int
    argv: list[str]
    settings: list[str]
    cwd: str
    stdin: int
    defaults: list[str]  # likewise, but what is set wins


@frame(26, "QBH")
class Limit:
    """How much memory the process may use, what to do if it uses more, and its weight in a cgroup of its
    own (see `limits`)."""

    memory_bytes: int
    enforce: int
    cpu_weight: int


@frame(21, "Bd")
class Signal:
    """Send a signal to the process and all it started."""

    signal: int
    linger_s: float  # for MPI's launcher not to learn of an end by it, while the rest of the world ends


@frame(22, "I")
class OutputTaken:
    """That much output was printed; as much more may come."""

    nbytes: int


@frame(23, "y")
class Stdin:
    """Input for the process; none: the end of it."""

    data: bytes


@frame(24, "y")
class ToRank:
    """A piece of the stream of frames for the process."""

    data: bytes


@frame(25, "")
class Dismiss:
    """The job is over: end the process with all it started, and go."""


# -- rank -> root -----------------------------------------------------------------------


@frame(30, "ssBQQBSS")
class Join:
    """This process uses cmpi; it may ask for resources.

    `memory` names the folder in shared memory that it sees: the same for those that see the same.
    """

    memory: str
    python: str  # its interpreter, for those that it spawns, and below how that was started
    asks: int
    cpu_units: int
    memory_bytes: int
    asks_memory: int
    flags: list[str] = []
    settings: list[str] = []  # see `Interpreter`


@frame(31, "IQQBsyyBBBBsIBIsSS")
class Spawn:
    """Start a closure, in one process or in `n` of one world. If it is not `inline`, it follows over the
    first channel.

    What it does not ask for is the default.
    """

    request: int
    cpu_units: int
    memory_bytes: int
    wait: int
    label: str
    closure: bytes
    context: bytes
    inline: int
    asks_cpus: int
    asks_memory: int
    tie: int  # to the process that spawns it: see `relations`
    host: str  # where it must run, or ""
    near: int  # whose host it prefers, or NO_PID
    pack: int
    n: int
    name: str = ""  # what people call the new process
    flags: list[str] = []  # of the interpreter, if they are not those of Join any more
    settings: list[str] = []


@frame(32, "I")
class Cancel:
    """The caller has stopped waiting for this request."""

    request: int


@frame(33, "I")
class Watch:
    """Tell me when this process has ended."""

    pid: int


@frame(34, "IB")
class Kill:
    """Send a signal to another process."""

    pid: int
    signal: int


@frame(35, "I")
class AskCapacity:
    """What is there, and what is free?"""

    request: int


@frame(36, "SS")
class Preload:
    """Modules to load into the fork server, and where to look for them."""

    modules: list[str]
    path: list[str]


@frame(37, "I")
class Connect:
    """I have something for this process: arrange a link."""

    peer: int


@frame(38, "I")
class ConnectionUp:
    """My half of this link stands."""

    peer: int


@frame(42, "I")
class ConnectionFailed:
    """I have given up this link."""

    peer: int


@frame(40, "")
class Leaving:
    """Order no more links with me; I am about to end."""


@frame(41, "IB")
class LookedAt:
    """I have received the end, or the failure, of this process, so that it is my business now; or, not
    `handled`, I did and end by that myself."""

    pid: int
    handled: int


@frame(39, "ss")
class Raised:
    """My function raised; the exit code follows."""

    summary: str
    trace: str


# -- root -> rank -----------------------------------------------------------------------


@frame(50, "IIILQQsQBLBLd")
class Welcome:
    """Who you are. A parent of NO_PID: the launcher started you.

    `bells` is a folder. Each process may share so many bytes of memory with each other for what it
    sends there; with none all goes by links. `memory` is as in Alive, of the parent.
    """

    pid: int
    parent: int
    rank: int
    world: list[int]
    cpu_units: int
    memory_bytes: int
    bells: str
    shared_memory_bytes: int
    memory: int
    cores: list[int]
    nice: int
    linked: list[int]  # in Erlang's sense
    deadline_s: float  # as in Launch


@frame(51, "IL")
class Spawned:
    """There is room; these are the new processes, which are being started."""

    request: int
    pids: list[int]


@frame(52, "I?s")
class Refused:
    """No process for this request: not now, or never."""

    request: int
    never: bool
    reason: str


@frame(53, "IBBs?")
class Ended:
    """A watched process has ended."""

    pid: int
    code: int
    signal: int
    verdict: str
    requested: bool


# LIKELY: the other has not joined, and is on the same host.
MEMORY_UNKNOWN, MEMORY_SHARED, MEMORY_APART, MEMORY_LIKELY = 0, 1, 2, 3


@frame(60, "IB")
class Alive:
    """The answer to Watch: it runs, and you will hear of its end.

    Said again when the process joins, if it had not: then it is known whether the two share memory.
    """

    pid: int
    memory: int


@frame(54, "IQQQQ")
class CapacityIs:
    """The answer to AskCapacity."""

    request: int
    total_cpu_units: int
    total_memory_bytes: int
    free_cpu_units: int
    free_memory_bytes: int


@frame(57, "II")
class GroupWith:
    """Take part in a link: make a communicator of you two out of your common world."""

    peer: int
    rank: int


@frame(58, "I")
class Abandon:
    """Give up the half-made link with this process."""

    peer: int


@frame(59, "yyBS")
class Closure:
    """What to run."""

    closure: bytes
    context: bytes
    inline: int
    settings: list[str] = []  # what it finds in its environment as a rank of a world, if not set


@frame(65, "")
class Farewell:
    """The answer to Leaving: no order of a link follows this."""


NO_PID = 0xFFFFFFFF
