"""MPI in the root (or a host spawner) and the spawn completer beside it.

The two start MPI together, because MPI_Init waits for all ranks, and only when something is to be spawned:
two more MPI_Init would take half of the time of a short program that spawns nothing.
"""

from __future__ import annotations

import os
import select
import sys

from cmpi._runtime import environment
from cmpi._runtime.linux import pid_files
from cmpi._transport.mpi_rank import rank_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

PIPE = "spawn-completer"  # a named pipe in the job's folder on cmpirun's host
NEEDED, OVER = b"n", b"o"
LOOK_S = 2.0  # between looks whether somebody has died who would have said that the job is over
EXCHANGE_S = 5
FINALIZE_S = 30


def make_pipe(folder: str) -> None:
    """Make the pipe by which the spawn completer is told to start MPI or to end.

    This process, cmpirun, holds it open for reading and writing, so that nobody has to wait for the other
    end, and no word is lost.
    """
    os.mkfifo(f"{folder}/{PIPE}", 0o600)
    os.open(f"{folder}/{PIPE}", os.O_RDWR | os.O_CLOEXEC)


def tell_completer(word: bytes) -> None:
    """Tell the spawn completer `NEEDED` or `OVER`, if it waits for that; on other hosts it does not."""
    if environment.HOST in os.environ:
        return
    try:
        fd = os.open(f"{os.environ[environment.JOB]}/{PIPE}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # the job's folder was removed
    os.write(fd, word)
    os.close(fd)


def wait_until_needed(folder: str) -> bool:
    """Whether the root needs the spawn completer; False: the job is over. Blocks: until either is so."""
    try:
        fd = os.open(f"{folder}/{PIPE}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # the job's folder was removed
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while not poll.poll(LOOK_S * 1000):
        if not os.path.exists(f"{folder}/{PIPE}") or _root_has_died(folder):
            return False
    return os.read(fd, 1) == NEEDED


def _root_has_died(folder: str) -> bool:
    """Whether the root has ended without a word; not all of MPI's launchers then end the other rank."""
    announced = pid_files.announced(folder)
    return any(
        text.startswith(pid_files.ROOT) and not pid_files.runs(pid) for pid, text in announced.items()
    )


def fault() -> str:
    """Why mpiexec is of another MPI than the library that mpi4py uses, or "". Loads the library."""
    mpi = _load()
    wanted = os.environ.get(environment.MPI, "")
    if wanted in ("", mpi.vendor()) and (not mpi.runs() or mpi.world()[1] == 2):
        return ""
    return (
        f"mpiexec is of another MPI ({wanted}) than the library that mpi4py uses ({mpi.version()}). Use "
        "the mpiexec of that library (--mpiexec), or install mpi4py for this one."
    )


def start() -> str:
    """Start MPI in this process; returns why it cannot be used, or "". Blocks: until both have done so."""
    # PRRTE, under load and while processes are killed, sometimes loses messages between root and completer
    # in MPI_Comm_spawn and MPI_Comm_connect, and both wait. PMIx needs long for this limit (about two
    # minutes were seen); if something hangs before that, the job's START_S ends it.
    os.environ.setdefault("OMPI_MCA_pmix_base_exchange_timeout", str(EXCHANGE_S))
    try:
        _load().initialize(release_gil=True)
    except Exception as error:
        return str(error) or type(error).__name__
    return fault()


def _load() -> ModuleType:
    """Load MPI's library. mpi4py looks for it in the virtual environment, which only `site` makes known."""
    import site

    if "cmpi._transport.mpi" not in sys.modules:
        site.main()
    from cmpi._transport import mpi

    return mpi


def leave(code: int) -> None:
    """End this process, with MPI finalized if it was started, and without the interpreter's teardown, which
    takes 4 ms."""
    sys.stderr.flush()
    if not rank_of(os.environ):
        tell_completer(OVER)
    if "cmpi._transport.mpi" in sys.modules:
        from cmpi._transport import mpi

        if mpi.runs():
            _finalize(code)
    os._exit(code)


def _finalize(code: int) -> None:
    import signal

    from cmpi._transport import mpi
    from cmpi._transport.pmi import Pmi

    # After cmpirun was killed and ranks had crashed inside ULFM, Open MPI's finalize was seen to spin for
    # ever.
    signal.alarm(FINALIZE_S)  # its default action needs no running thread
    if mpi.vendor() == "mpich":
        # This is all that Hydra needs of MPI_Finalize, which takes 10 ms. Nothing else is left to be torn
        # down, and the shared memory of the two has been unlinked (see the spawn completer).
        Pmi(os.environ).finalize(killed=False)
        return
    mpi.finalize()
    import ctypes

    ctypes.CDLL(None).exit(code)  # with the exit handlers of C libraries
