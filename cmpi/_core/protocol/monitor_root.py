"""Frames between the monitor of a process and the root: the process's start, output, input and end."""

from __future__ import annotations

from cmpi._core.protocol.wire import U8, U16, U32, U64, frame, keyword_frame, registry

# -- monitor -> root --------------------------------------------------------------------


@frame
class MonitorUp:
    """A monitor stands ready. `port` completes the spawn it belongs to.

    Of rank 0, `service_port` and the next one are free: for what the ranks of that world set up themselves.
    `ahead` is true of a slot's, which has forked a process that waits for a closure.
    """

    start: U32
    rank: U32
    os_pid: U32
    host: str
    port: str
    service_port: U16 = 0
    ahead: bool = False


@frame
class Output:
    """Bytes that the process wrote to descriptor 1 or 2; none: that descriptor is closed."""

    fd: U8
    data: bytes


@frame
class ProcessExited:
    """The process has ended, and all that it wrote itself was sent before this."""

    code: U8
    signal: U8 = 0
    by_launcher: bool = False  # MPI's launcher told the monitor to end it
    by_kernel: bool = False  # it was killed just when the kernel killed somebody for want of memory
    peak_rss_bytes: U64 = 0
    cpu_s: float = 0.0
    core: str = ""  # where the kernel has put a core dump, if it made one


@frame
class JobTerminated:
    """Slurm ends the job: the monitor got a SIGTERM, and so did its process and everything else."""


@frame
class FromRank:
    """A piece of the process's own stream of frames: see `process_root`."""

    data: bytes


@frame
class StdinTaken:
    """That much input was passed on; as much more may come."""

    nbytes: U32


@frame
class CannotRun:
    """The program could not be started; a ProcessExited follows."""

    reason: str


@frame
class SlotIdle:
    """The process in this slot has ended, nothing of it is left, and the slot can be used again; or (for
    this reason) none could be forked."""

    fault: str = ""


@frame
class OverMemory:
    """The process uses more memory than it was granted, and is ended or only warned of."""

    used_bytes: U64
    ended: bool
    at: str  # the time of day


@frame
class RankStacks:
    """The answer to AskRankStacks.

    `text` has the stacks of all threads, with source lines; "" where the rank cannot be asked, or was not.
    """

    watching: bool  # as asked
    text: str
    went_on: bool = True  # it has run a line of Python since the last question
    ending: bool = False  # Python has ended in it; it is in an exit handler of C, as MPI_Finalize is


# -- root -> monitor --------------------------------------------------------------------


@keyword_frame
class StartProcess:
    """Start this program, with these settings ("NAME=value"; "NAME": unset) on top of the environment."""

    pid: U32
    argv: list[str]
    settings: list[str]
    cwd: str
    stdin: bool
    defaults: list[str]  # settings that give way to what is set already


@frame
class Limit:
    """How much memory the process may use, what to do if it uses more, and its weight in a cgroup of its
    own (see `limits`)."""

    memory_bytes: U64
    enforce: U8
    cpu_weight: U16


@frame
class Signal:
    """Send a signal to the process and all it started."""

    signal: U8
    linger_s: float = 0.0  # for MPI's launcher not to learn of an end by it, while its world ends
    by_slurm: bool = False  # all that is in the job got it from there: it is not to be sent again


@frame
class OutputTaken:
    """That much output was printed; as much more may come."""

    nbytes: U32


@frame
class Stdin:
    """Input for the process; none: the end of it."""

    data: bytes


@frame
class ToRank:
    """A piece of the stream of frames for the process: see `process_root`."""

    data: bytes


@frame
class AskRankStacks:
    """Asks what the rank is doing. It need not use cmpi.

    `watching`: leave a rank alone that uses no CPU; of others say whether they went on, too.
    """

    watching: bool


@frame
class ForkNext:
    """Fork the next process of this slot; sent when it is idle."""


@frame
class Dismiss:
    """The job is over, or the process is not wanted: end it with all it started, and go."""


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
        26: Limit,
        27: AskRankStacks,
        28: ForkNext,
    }
)
