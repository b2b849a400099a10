"""Relays between MPICH's launcher and a process of a world, so that MPI_Abort does not end the whole job.

Hydra answers a PMI-1 `abort` by killing the whole job, including cmpi's root, and output in flight is lost.
The relay therefore does not pass an abort on: it kills the process, which waits for that, and reports the
exit code that the process gave to MPI_Abort. All other lines are passed on. A process that is alone in its
world needs no relay.

Source: MPICH's `src/pmi/src/pmi_v1.c` (the line "cmd=abort exitcode=7") and Hydra's `fn_abort`.
"""

from __future__ import annotations

import _socket
import _thread
import os
import select

from cmpi._transport.control_socket import socket_pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import MutableMapping
else:
    import _signal as signal  # without the enums of `signal`, 3 ms in every monitor

ABORT = b"cmd=abort "
LEAVE_S = 5.0  # how long the thread may take to pass on the last lines of the process


class PmiRelay:
    """A context manager around the start of the process; `stop` ends the relay.

    Args:
        environment: The environment in which the process finds its descriptor.
        launcher: The launcher's descriptor.
    """

    def __init__(self, environment: MutableMapping[str, str], launcher: int) -> None:
        self._environment, self._launcher = environment, launcher
        self._needed = launcher >= 0 and int(environment.get("PMI_SIZE", "1")) > 1
        self._ended = _thread.allocate_lock()
        self._ours: _socket.socket | None = None
        self._pid = 0
        self._code: int | None = None  # the code given to MPI_Abort

    def started(self, pid: int) -> None:
        """Note the process's pid."""
        self._pid = pid

    def status(self, status: int) -> tuple[int, int]:
        """Return exit code and signal of the process, given its status from `wait4`."""
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if number == signal.SIGKILL and self._code is not None:
            return self._code, 0
        return (128 + number if number else os.WEXITSTATUS(status)), number

    def __enter__(self) -> PmiRelay:
        if self._needed:
            self._owner = os.getpid()
            self._ours, theirs = socket_pair()
            self._ours.setblocking(True)
            self._theirs = theirs.detach()
            os.set_blocking(self._theirs, True)
            os.set_inheritable(self._theirs, True)
            os.set_inheritable(self._launcher, False)
            self._environment["PMI_FD"] = str(self._theirs)
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours is None:
            return
        if os.getpid() != self._owner:  # the process itself, forked
            self._ours.close()
            os.close(self._launcher)
            return
        os.close(self._theirs)
        self._ended.acquire()
        _thread.start_new_thread(self._run, (self._ours,))

    def stop(self) -> None:
        """Stop relaying after the process has ended: the monitor alone uses the launcher's descriptor now.

        Blocks: for a moment.
        """
        if self._ours is not None and os.getpid() == self._owner:
            try:
                self._ours.shutdown(_socket.SHUT_RDWR)
            except OSError:
                pass  # it has closed its end
            self._ended.acquire(timeout=LEAVE_S)
            self._ours.close()
            self._ours = None

    def _run(self, ours: _socket.socket) -> None:
        poll = select.poll()
        for fd in (ours.fileno(), self._launcher):
            poll.register(fd, select.POLLIN)
        rest = b""
        try:
            while True:
                ready = {fd for fd, _ in poll.poll()}
                if ours.fileno() in ready:
                    data = ours.recv(65536)
                    if not data:
                        return
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        if line.startswith(ABORT):
                            self._code = _exit_code(line)
                            os.killpg(self._pid, signal.SIGKILL)  # it may be a shell's child
                            return
                        _write(self._launcher, line + b"\n")
                if self._launcher in ready:
                    data = os.read(self._launcher, 65536)
                    if not data:
                        return
                    ours.sendall(data)
        except OSError:
            pass  # one of the two has gone
        finally:
            self._ended.release()


def _exit_code(abort: bytes) -> int:
    """The code of "cmd=abort exitcode=7"; never 0, which would be success.

    >>> _exit_code(b"cmd=abort exitcode=7"), _exit_code(b"cmd=abort exitcode=0")
    (7, 1)
    """
    digits = abort.partition(b"exitcode=")[2].split()[:1]
    return (int(digits[0]) & 0xFF if digits and digits[0].isdigit() else 1) or 1


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
