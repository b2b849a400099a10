"""A pipe to cmpirun for the output of cmpi's own processes, and of MPI's libraries in them.

The stdout and stderr that MPI's launcher gives them come out of mpiexec, together with the output of
processes that the program itself starts with MPI_Comm_spawn, which is for the user. The launcher's own
means of telling them apart (Open MPI's tags) do not cover spawned processes.
"""

import posix

from cmpi._runtime import environment

NAME = "own-output"  # of a named pipe in the job's folder; there is none on a host other than cmpirun's


def open_own_output(folder: str) -> int:
    """Make the pipe, and open it for reading (and writing: so it has no end, whoever comes and goes)."""
    posix.mkfifo(f"{folder}/{NAME}", 0o600)
    return posix.open(f"{folder}/{NAME}", posix.O_RDWR | posix.O_CLOEXEC)


def write_there() -> None:
    """From now on, have this process and those that it starts write there, if there is such a pipe."""
    try:
        # Opened for writing alone, it would wait for ever where cmpirun was killed.
        folder = posix.environ[environment.JOB.encode()]
        fd = posix.open(folder + b"/" + NAME.encode(), posix.O_RDWR | posix.O_CLOEXEC)
    except (KeyError, OSError):
        return
    for number in (1, 2):
        posix.dup2(fd, number)
    posix.close(fd)
