"""The program that `mpiexec -n 2` starts: rank 0 is the root (or, on another host, the host spawner); rank
1 is the spawn completer.

It runs as `python -I main.py`, and then looks for modules where cmpirun does. The root must not import
anything from the job's working folder, nor run anything that PYTHONPATH would make Python run at its start.
"""

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # without the enums of `signal`

EXCHANGE_S = 5
FINALIZE_S = 30


def _import_root() -> None:
    """Load the root's own modules while the main thread is inside MPI_Init, which saves 5 ms."""
    import cmpi._runtime.root.root  # noqa: F401


def leave(code: int) -> None:
    """End with the exit handlers of C libraries, but without the interpreter's teardown, which takes 4
    ms."""
    import ctypes

    sys.stderr.flush()
    ctypes.CDLL(None).exit(code)


def main() -> int:
    """Start MPI, and take the role that the rank determines."""
    sys.path.insert(0, __file__.rsplit("/", 4)[0])  # this cmpi, even if others are installed
    from cmpi._runtime import batch_end, environment
    from cmpi._runtime.own_output import write_there

    batch_end.leave_sigterm_to_cmpirun()
    write_there()
    sys.path[:] = os.environ.pop(environment.PATH).split(os.pathsep)
    from cmpi._runtime.linux import pid_files
    from cmpi._transport.pmi import rank_of

    leads = pid_files.HOST_SPAWNER if environment.HOST in os.environ else pid_files.ROOT
    pid_files.announce(os.environ[environment.JOB], pid_files.COMPLETER if rank_of(os.environ) else leads)
    # PRRTE, under load and while processes are killed, sometimes loses messages between root and completer
    # in MPI_Comm_spawn and MPI_Comm_connect, and both wait. PMIx needs long for this limit (about two
    # minutes were seen); if something hangs before that, the job's START_S ends it.
    os.environ.setdefault("OMPI_MCA_pmix_base_exchange_timeout", str(EXCHANGE_S))
    from cmpi._transport import mpi

    _thread.start_new_thread(_import_root, ())
    mpi.initialize()
    rank, size = mpi.world()
    wanted = os.environ.get(environment.MPI, "")
    if size != 2 or wanted not in ("", mpi.vendor()):
        print(
            f"cmpirun: mpiexec is of another MPI ({wanted}) than the library that mpi4py uses "
            f"({mpi.version()}). Use the mpiexec of that library (--mpiexec), or install mpi4py "
            "for this one.",
            file=sys.stderr,
        )
        return 1
    if rank == 0 and environment.HOST in os.environ:
        from cmpi._runtime.root.host_spawner import main as role
    elif rank == 0:
        from cmpi._runtime.root.root import main as role
    else:
        from cmpi._runtime.root.spawn_completer import main as role
    code = role()
    # After cmpirun was killed and ranks had crashed inside ULFM, Open MPI's finalize was seen to spin for
    # ever.
    signal.alarm(FINALIZE_S)  # its default action needs no running thread
    if mpi.vendor() == "mpich":
        # This is all that Hydra needs of MPI_Finalize, which takes 10 ms. Nothing else is left to be torn
        # down, and the shared memory of the two has been unlinked (see the spawn completer).
        from cmpi._transport.pmi import Pmi

        Pmi(os.environ).finalize(killed=False)
        os._exit(code)
    mpi.finalize()
    return code


if __name__ == "__main__":
    leave(main())
