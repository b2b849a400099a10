"""Frames between cmpirun and the root: the order of a job, signals, hosts, what MPI's launcher prints."""

from __future__ import annotations

from cmpi._core.protocol.monitor_root import OutputTaken
from cmpi._core.protocol.wire import U8, U32, U64, frame, keyword_frame, registry

# -- cmpirun -> root --------------------------------------------------------------------


@keyword_frame
class LaunchJob:
    """The program to run and its settings; sent with the terminal's three descriptors."""

    argv: list[str]
    settings: list[str]  # "NAME=value", for the ranks' environment alone
    where: list[str]  # the host of each rank
    cwd: str
    output: str
    colour: bool
    one_place: bool  # stdout and stderr end in the same place
    verbosity: U8  # which starts and ends are shown, and how much is reported: see `output`
    output_dir: str
    cpu_units: U64  # 0: whatever this job may use
    memory_bytes: U64  # 0: whatever this job may use
    rank_cpu_units: U64  # that each rank holds of these
    shared_memory_bytes: U64  # that one process may share with another; 0: none
    enforce: str  # "none", "warn" or "kill" those that use too much memory; "": as they asked
    check_deadlock: bool  # end the job when all its processes wait for each other
    here: str  # the name of the root's own host
    hosts: bytes  # HostIs frames; none: the root's own is all there is
    deadline_s: float  # when the job will be ended, in seconds since 1970; 0: never
    report_mpi_waits_s: float  # how long all must have waited inside MPI; 0: never report it
    grace_s: float  # between the first signal and SIGKILL, when the user ends the job
    strict: bool  # a failure counts though another process has looked at it
    standing: bool = False  # the job goes on when no process is left, until it is interrupted
    keeper: U32 = 0  # the process outside, by its number, with whose end such a job ends; 0: none
    inherited: list[str] = []  # names of the variables in cmpirun's own environment


@frame
class Interrupt:
    """The user wants the job to end, by this signal."""

    signal: U8


@frame
class ShowStacks:
    """The user wants to see what all processes do."""


@frame
class LauncherOutput:
    """Written to descriptor 1 or 2 by processes that the program itself started, by MPI_Comm_spawn."""

    fd: U8
    data: bytes


@frame
class AllOutput:
    """The answer to AskOutput: there is no more, for now."""


@keyword_frame
class HostIs:
    """A host that processes may be placed on; part of LaunchJob and of HostBack.

    A python of "" is that of the spawning process; cpu_units and memory_bytes of 0 are what the host
    allows, which for the root's own only the root can tell.
    """

    name: str
    address: str
    python: str
    cwd: list[str]  # none: that of the job
    argv: list[str]  # what a rank runs there; none: as everywhere
    cpu_units: U64
    memory_bytes: U64
    cores: list[U64]


@frame
class HostLost:
    """A host is out of reach, with all that ran there."""

    name: str
    reason: str


@frame
class HostBack:
    """A host that was lost, or is new, can be used: its HostIs."""

    host: bytes


@frame
class WorldFailed:
    """The ranks of this start could not be started."""

    start: U32
    reason: str


# -- root -> cmpirun --------------------------------------------------------------------


@frame
class Final:
    """All output is printed; this is cmpirun's exit code."""

    code: U8


@frame
class TakesGuests:
    """The root listens: guests may come."""


@frame
class AskOutput:
    """The job is over: send what is left of LauncherOutput."""


@frame
class HostForgotten:
    """The answer to HostLost: the connections from there may be closed."""

    name: str


@frame
class NeedHostSpawner:
    """Start a host spawner on that host."""

    host: str


@frame
class StartWorld:
    """Start ranks on several hosts, as one world; the host of each."""

    start: U32
    hosts: list[str]


TO_ROOT = registry(
    {
        1: LaunchJob,
        2: Interrupt,
        4: ShowStacks,
        5: LauncherOutput,
        6: AllOutput,
        113: HostLost,
        114: WorldFailed,
        125: HostBack,
    }
)
TO_LAUNCHER = registry(
    {
        3: Final,
        7: AskOutput,
        22: OutputTaken,
        115: HostForgotten,
        116: NeedHostSpawner,
        117: StartWorld,
        135: TakesGuests,
    }
)
HOSTS = registry({112: HostIs})  # in LaunchJob.hosts and HostBack.host
