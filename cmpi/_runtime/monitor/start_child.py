"""Starts the process of a monitor, with pipes and a session of its own, by exec or fork."""

from __future__ import annotations

import os

from cmpi._core.job import rank_variables
from cmpi._runtime import environment
from cmpi._runtime.linux import descendants
from cmpi._transport import joining
from cmpi._transport.control_socket import socket_pair
from cmpi.errors import LaunchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import signal
    from collections.abc import MutableMapping
    from typing import NoReturn

    from cmpi._runtime.mpi_state import MpiState
else:
    import _signal as signal  # without the enums of `signal`, 3 ms in every monitor

_F_SETPIPE_SZ = 1031
PIPE_BYTES = 1 << 20


class BecomeProcess(BaseException):
    """Raised in the forked child: leave the monitor's code and be the new process.

    Unwinding the stack, rather than running the process from here, lets it end as any Python program does,
    with its own exit handlers and those of C libraries.
    """

    def __init__(self, control: int) -> None:
        super().__init__(control)
        self.control = control
        self.mpi: MpiState | None = None  # None: MPI starts when the process joins the job


class ChildProcess:
    """A started process: its pid, pipes and control socket. -1 or None: closed."""

    def __init__(self, pid: int, out: int, err: int, stdin: int, control: _socket.socket) -> None:
        self.pid, self.out, self.err, self.stdin = pid, out, err, stdin
        self.pidfd = os.pidfd_open(pid)
        self.inherited: _socket.socket | None = control
        self.control: _socket.socket | None = None  # once the process has joined
        for fd in (out, err, stdin):
            if fd >= 0:
                os.set_blocking(fd, False)
        control.setblocking(False)

    def close_output(self, number: int) -> None:
        """Close the pipe of descriptor 1 or 2."""
        if number == 1:
            os.close(self.out)
            self.out = -1
        else:
            os.close(self.err)
            self.err = -1

    def close(self) -> None:
        """Close what is still open, except the pidfd, which is closed when the process is reaped."""
        self.close_inherited()
        self.close_control()
        self.close_stdin()
        for number, fd in ((1, self.out), (2, self.err)):
            if fd >= 0:
                self.close_output(number)

    def close_stdin(self) -> None:
        """Close the process's stdin, so that it sees the end of its input."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close_inherited(self) -> None:
        """Close the socket for joining: nothing that the process has started can join any more."""
        if self.inherited is not None:
            self.inherited.close()
            self.inherited = None

    def close_control(self) -> None:
        """Close the control socket, because the process has closed its end."""
        if self.control is not None:
            self.control.close()
            self.control = None


def start(argv: list[str], cwd: str, stdin: bool, *, fork: bool, protect: bool) -> ChildProcess:
    """Start `argv` in `cwd`, or (`fork`) raise `BecomeProcess` in the new process.

    Args:
        protect: The process is not killed when its monitor dies, until it asks for that itself: nothing may
            kill it before it has passed MPI_Init (see `Pmi.fragile`).

    Raises:
        LaunchError: The program cannot be started; the message names the program and the reason.
    """
    ours, theirs = socket_pair()
    joining.listen(ours)  # before any process exists that could send
    out, err = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    source = os.pipe2(os.O_CLOEXEC) if stdin else (os.open(os.devnull, os.O_RDONLY), -1)
    fault_read, fault_write = os.pipe2(os.O_CLOEXEC)
    monitor = os.getpid()
    # A signal that came before the new process had removed the monitor's handler would be lost.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        pid = os.fork()
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        for fd in (*out, *err, *source, fault_read, fault_write):
            if fd >= 0:
                os.close(fd)
        ours.close()
        theirs.close()
        raise LaunchError(
            f"the kernel does not allow another process: {error.strerror}. Run fewer processes, or "
            "raise ulimit -u"
        ) from None
    if pid == 0:
        try:
            _settle(0 if protect else monitor, source[0], out[1], err[1], theirs)
            if fork:
                ours.close()
                for fd in (out[0], err[0], source[1], fault_read, fault_write):
                    if fd >= 0:
                        os.close(fd)
                raise BecomeProcess(theirs.detach())
            _execute(argv, cwd)
        except OSError as error:
            os.write(fault_write, _explain(error, argv, cwd).encode("utf-8", "surrogateescape"))
            os._exit(127)
    signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
    for fd in (out[1], err[1], source[0], fault_write):
        os.close(fd)
    theirs.close()
    descendants.adopt_orphans()
    for fd in (out[0], err[0]):
        _enlarge(fd)
    fault = b"" if fork else os.read(fault_read, 4096)
    os.close(fault_read)
    child = ChildProcess(pid, out[0], err[0], source[1], ours)
    if fault:
        os.waitpid(pid, 0)
        raise LaunchError(fault.decode("utf-8", "surrogateescape"))
    return child


def add_defaults(environment: MutableMapping[str, str], settings: list[str]) -> list[str]:
    """Set those of the "NAME=value" settings that are `fitting`; return the names that were set."""
    ours = rank_variables.fitting(settings, environment)
    environment.update(ours)
    return list(ours)


def _settle(monitor: int, stdin: int, out: int, err: int, control: _socket.socket) -> None:
    """In the new process: make a session, set up descriptors, and end with the monitor if `monitor` is
    given."""
    os.setsid()
    if monitor:
        descendants.die_with_parent()
        if os.getppid() != monitor:  # the monitor died before the line above
            os._exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(
        signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGPIPE]
    )  # see `batch_end.blocked_in_mpiexec`
    for number, fd in enumerate((stdin, out, err)):
        os.dup2(fd, number)
        if fd > 2:
            os.close(fd)
    os.environ[environment.CONTROL] = describe(control.fileno())


def describe(control: int) -> str:
    """Describe a control descriptor for the process: its number, and which socket it is.

    In a program that the process starts, another socket may have that number.
    """
    return f"{control} {os.fstat(control).st_ino}"


def descriptor(described: str) -> int:
    """The descriptor that `describe` described. Raises: OSError: there is none, or it is another socket."""
    number, _, inode = described.partition(" ")
    if str(os.fstat(int(number)).st_ino) != inode:
        raise OSError(f"descriptor {number} is not the control connection")
    return int(number)


def _execute(argv: list[str], cwd: str) -> NoReturn:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores SIGPIPE; other programs should not
    os.set_inheritable(descriptor(os.environ[environment.CONTROL]), True)
    os.chdir(cwd)
    os.execvp(argv[0], argv)


def _explain(error: OSError, argv: list[str], cwd: str) -> str:
    program = argv[0] if argv else "?"
    if not os.path.isdir(cwd):
        return f"working directory not found: {cwd}"
    if isinstance(error, FileNotFoundError):
        where = "" if "/" in program else " on PATH"
        if os.path.exists(program):
            return f"not found: the interpreter that the first line of {program} names"
        return f"not found{where}: {program}"
    if isinstance(error, PermissionError):
        if os.path.isdir(program):
            return f"not a program but a folder: {program}"
        return f"not executable: {program} (for a Python script: cmpirun python {program}, or chmod +x)"
    return f"cannot execute {program}: {error.strerror}"


def _enlarge(fd: int) -> None:
    import fcntl

    try:
        fcntl.fcntl(fd, _F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        pass  # beyond the user's share of pipe memory: the pipe keeps its size
