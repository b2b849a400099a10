"""The program that `mpiexec -n 2` starts: rank 0 is the root (or, on another host, the host spawner); rank
1 is the spawn completer.

It runs as `python -I -S main.py`, and then looks for modules where cmpirun does. The root must not import
anything from the job's working folder, nor run anything that PYTHONPATH would make Python run at its start.
"""

import os
import sys


def main() -> int:
    """Take the role that the rank determines; returns the exit code."""
    sys.path.insert(0, __file__.rsplit("/", 4)[0])  # this cmpi, even if others are installed
    from cmpi._runtime import batch_end, environment
    from cmpi._runtime.linux import pid_files
    from cmpi._runtime.own_output import write_there
    from cmpi._runtime.root import spawning_mpi
    from cmpi._transport.mpi_rank import rank_of

    batch_end.leave_sigterm_to_cmpirun()
    write_there()
    sys.path[:] = os.environ.pop(environment.PATH).split(os.pathsep)
    folder, elsewhere = os.environ[environment.JOB], environment.HOST in os.environ
    if rank_of(os.environ):
        pid_files.announce(folder, pid_files.COMPLETER)
        if not elsewhere and not spawning_mpi.wait_until_needed(folder):
            return 0
        if fault := spawning_mpi.start():
            print(f"cmpirun: {fault}", file=sys.stderr)
            return 1
        from cmpi._runtime.root.spawn_completer import main as role
    elif elsewhere:
        pid_files.announce(folder, pid_files.HOST_SPAWNER)
        from cmpi._runtime.root.host_spawner import main as role
    else:
        pid_files.announce(folder, pid_files.ROOT)
        if os.environ.pop(environment.CHECK_MPI, "") and (fault := spawning_mpi.fault()):
            print(f"cmpirun: {fault}", file=sys.stderr)
            return 1
        from cmpi._runtime.root.root import main as role
    return role()


def run() -> None:
    """Run as a program; never returns."""
    try:
        code = main()
    except Exception:
        sys.excepthook(*sys.exc_info())
        code = 1
    from cmpi._runtime.root.spawning_mpi import leave

    leave(code)


if __name__ == "__main__":
    run()
