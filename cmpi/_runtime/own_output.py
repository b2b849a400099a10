"""A pipe to cmpirun for the output of cmpi's own processes, and of MPI's libraries in them.

Their own stdout and stderr end in mpiexec's output, mixed with the output of processes that the program
itself starts by MPI_Comm_spawn, which is for the user. The launcher cannot tell them apart: Open MPI's tags
do not cover spawned processes.
"""

import posix

from cmpi._runtime import environment

NAME = "own-output"  # a named pipe in the job's folder; only on cmpirun's host


def open_own_output(folder: str) -> int:
    """Make the pipe, and open it for reading and writing, so that it never ends, whichever writers come and
    go."""
    posix.mkfifo(f"{folder}/{NAME}", 0o600)
    return posix.open(f"{folder}/{NAME}", posix.O_RDWR | posix.O_CLOEXEC)


def write_there() -> None:
    """Redirect the output of this process and its future children to that pipe, if there is one."""
    try:
        # Opening it only for writing would block for ever if cmpirun was killed.
        folder = posix.environ[environment.JOB.encode()]
        fd = posix.open(folder + b"/" + NAME.encode(), posix.O_RDWR | posix.O_CLOEXEC)
    except (KeyError, OSError):
        return
    for number in (1, 2):
        posix.dup2(fd, number)
    posix.close(fd)
