"""Frames between the monitor of a process and the root: the process's start, output, input and end."""

from __future__ import annotations

from cmpi._core.protocol.wire import U8, U16, U32, U64, frame, keyword_frame, registry

# -- monitor -> root --------------------------------------------------------------------


@frame
class MonitorUp:
    """A monitor is ready. `port` completes the spawn that it belongs to.

    On rank 0's host, `service_port` and the next port are free, for services that the ranks of that world
    set up. `ahead`: it is the monitor of a slot, and has forked a process that waits for a closure.
    """

    start: U32
    rank: U32
    os_pid: U32
    host: str
    port: str
    service_port: U16 = 0
    ahead: bool = False


@frame
class ProcessStarted:
    """The process is running, with this pid of the operating system's."""

    os_pid: U32


@frame
class Output:
    """Bytes that the process wrote to descriptor 1 or 2; none: that descriptor is closed."""

    fd: U8
    data: bytes


@frame
class ProcessExited:
    """The process has ended; everything that it wrote itself was sent before this."""

    code: U8
    signal: U8 = 0
    by_launcher: bool = False  # MPI's launcher told the monitor to end it
    by_kernel: bool = False  # killed just when the kernel killed a process for lack of memory
    peak_rss_bytes: U64 = 0
    cpu_s: float = 0.0
    core: str = ""  # the file of its core dump, if the kernel made one


@frame
class JobTerminated:
    """Slurm is ending the job: the monitor got a SIGTERM, and so did its process and all others."""


@frame
class FromRank:
    """A piece of the process's own stream of frames: see `process_root`."""

    data: bytes


@frame
class StdinTaken:
    """This much input was passed on; the same amount may follow."""

    nbytes: U32


@frame
class CannotRun:
    """The program could not be started; a ProcessExited follows."""

    reason: str


@frame
class SlotIdle:
    """The process in this slot has ended without leftovers, and the slot can be used again; or none could
    be forked, for this reason."""

    fault: str = ""


@frame
class OverMemory:
    """The process uses more memory than it was granted, and is killed or only warned about."""

    used_bytes: U64
    ended: bool
    at: str  # the time of day


@frame
class RankStacks:
    """The answer to AskRankStacks.

    `text` has the stacks of all threads, with source lines; "" if the rank cannot be asked, or was left
    alone.
    """

    watching: bool  # as in AskRankStacks
    text: str
    went_on: bool = True  # it has run Python code since the last question
    ending: bool = False  # Python has ended in it; a C exit handler runs, such as MPI_Finalize


# -- root -> monitor --------------------------------------------------------------------


@keyword_frame
class StartProcess:
    """Start this program, with these settings ("NAME=value"; "NAME": unset) on top of the environment."""

    pid: U32
    argv: list[str]
    settings: list[str]
    cwd: str
    stdin: bool
    defaults: list[str]  # settings that do not replace variables already set


@frame
class LimitResources:
    """How much memory the process may use, what to do if it uses more, and the weight of its own cgroup
    (see `limits`)."""

    memory_bytes: U64
    enforce: U8
    cpu_weight: U16


@frame
class Signal:
    """Send a signal to the process and everything that it started."""

    signal: U8
    linger_s: float = 0.0  # hide its end from MPI's launcher for so long, while its world ends
    by_slurm: bool = False  # Slurm has signalled all processes already: do not send it again


@frame
class OutputTaken:
    """This much output was printed; the same amount may follow."""

    nbytes: U32


@frame
class Stdin:
    """Input for the process; no bytes mean its end."""

    data: bytes


@frame
class ToRank:
    """A piece of the stream of frames for the process: see `process_root`."""

    data: bytes


@frame
class AskRankStacks:
    """Asks what the rank is doing, which need not use cmpi.

    `watching`: leave a rank alone that uses no CPU; for others, also tell whether they went on.
    """

    watching: bool


@frame
class ForkNext:
    """Fork the next process of this slot; sent when the slot is idle."""


@frame
class Dismiss:
    """The job is over, or the process is not wanted: end it and everything it started, and exit."""


TO_ROOT = registry(
    {
        10: MonitorUp,
        11: Output,
        12: ProcessExited,
        13: FromRank,
        14: StdinTaken,
        15: CannotRun,
        16: OverMemory,
        17: RankStacks,
        18: SlotIdle,
        19: JobTerminated,
        29: ProcessStarted,
    }
)
TO_MONITOR = registry(
    {
        20: StartProcess,
        21: Signal,
        22: OutputTaken,
        23: Stdin,
        24: ToRank,
        25: Dismiss,
        26: LimitResources,
        27: AskRankStacks,
        28: ForkNext,
    }
)
