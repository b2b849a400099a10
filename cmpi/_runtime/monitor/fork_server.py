"""The fork server: libraries loaded, MPI not started; forks a monitor, and it a process, for each stub.

A cold start spends nearly all its time in loading: the interpreter, libmpi with what it links to,
numpy. Here that is done once for a host. The server has one thread and holds nothing but its two
sockets, so that what it forks inherits nothing but the loaded modules.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import resource
import select
import sys
from _operator import _compare_digest

from cmpi._core.protocol import helper_frames
from cmpi._runtime import environment as names
from cmpi._runtime.monitor.monitor import Monitor
from cmpi._runtime.monitor.start_child import BecomeProcess
from cmpi._runtime.process import apply_grant
from cmpi._transport import control_socket
from cmpi._transport.pmi import Pmi

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import signal
else:
    import _signal as signal  # without the enums of `signal`, which would be copied in every monitor

PRELOADED = (
    "cmpi.channels.receiver",
    "cmpi.processes.process",
    "cmpi._runtime.linux.cgroup",
    "cmpi._runtime.process.worker",
    "cmpi._runtime.process.node",
    "cmpi._transport.arrays",
    "cmpi._transport.segment",
    "numpy.random",
)
_LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})


class ForkServer:
    """`run` serves stubs until the root goes; it returns, in a forked process, what that is to do.

    `leash` is, in such a process, a socket to its stub, which stays while anybody has that open.
    """

    def __init__(self) -> None:
        self.leash: _socket.socket | None = None
        self._folder, self._secret = os.environ[names.JOB], os.environ[names.SECRET]
        self._root = control_socket.to_root(os.environ)
        # Each fork has one thread for numpy, or as many as it is granted.
        apply_grant.blas_threads = int(os.environ.setdefault("OPENBLAS_NUM_THREADS", "1").strip() or 0)
        self._load(list(PRELOADED), [])
        self._server = control_socket.listen(self._folder + "/fork")
        host = os.environ.get(names.HOST, "")
        self._root.send(helper_frames.HelperUp(helper_frames.FORK_SERVER, host, ""))
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # monitors are reaped by the kernel

    def run(self) -> bool:
        """Serve; True in a process that is to run a closure, False at the server's own end."""
        poll = select.poll()
        poll.register(self._root, select.POLLIN)
        poll.register(self._server.fileno(), select.POLLIN)
        while not self._root.closed:
            ready = {fd for fd, _ in poll.poll()}
            if self._root.fileno() in ready:
                for frame in self._root.receive():
                    if isinstance(frame, helper_frames.Load):
                        self._load(frame.modules, frame.path)
            if self._server.fileno() in ready:
                stub = control_socket.accept(self._server)
                if stub is not None and self._serve(stub):
                    return True
        return False

    def _load(self, modules: list[str], path: list[str]) -> None:
        sys.path += [folder for folder in path if folder not in sys.path]
        for module in modules:
            try:
                importlib.import_module(module)
            except Exception as error:
                self._root.send(helper_frames.Complaint(f"cannot preload {module}: {error!r}"))
        # Frozen objects are not looked at by the collectors of the forks, so their pages stay shared.
        gc.collect()
        gc.freeze()

    def _serve(self, stub: _socket.socket) -> bool:
        """Fork a monitor for a stub; True in the process that the monitor starts."""
        try:
            start, stub_pid, environment, fds = self._receive(stub)
        except (OSError, ValueError):
            stub.close()  # a stranger, or a stub that was killed
            return False
        # The root sits in MPI_Comm_spawn until somebody connects to the port: not later than this.
        self._root.send(helper_frames.PortIs(start, Pmi(environment).take_port()))
        if os.fork() != 0:
            stub.close()
            for fd in fds:
                os.close(fd)
            return False
        self._server.close()
        self._root.close()
        try:
            _take_over(stub_pid, environment, fds)
            stub.send(b"k")
            Monitor(start, leash=stub, fork_only=True).run()
        except BecomeProcess:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.leash = stub
            return True
        except BaseException:
            sys.excepthook(*sys.exc_info())
        os._exit(0)

    def _receive(self, stub: _socket.socket) -> tuple[int, int, dict[str, str], list[int]]:
        stub.settimeout(5.0)
        data, fds = control_socket.receive_fds(stub)
        head, _, data = data.partition(b"\n")
        nbytes, start, stub_pid = map(int, head.split())
        while len(data) < nbytes:
            piece = stub.recv(nbytes - len(data))
            if not piece:
                raise OSError("the stub has gone")
            data += piece
        environment = dict(os.fsdecode(item).split("=", 1) for item in data.split(b"\0") if item)
        if not _compare_digest(environment.get(names.SECRET, ""), self._secret) or len(fds) < 3:
            raise ValueError("not a stub of this job")
        if len(fds) > 3:
            environment["PMI_FD"] = str(fds[3])
        return start, stub_pid, environment, fds


def _take_over(stub_pid: int, environment: dict[str, str], fds: list[int]) -> None:
    """Be, in this fork, what the stub was started to be."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.sched_setaffinity(0, os.sched_getaffinity(stub_pid))
    for limit in _LIMITS:
        resource.setrlimit(limit, resource.prlimit(stub_pid, limit))
    for number, fd in enumerate(fds[:3]):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    if len(fds) > 3:
        os.set_inheritable(fds[3], True)


def _close_inherited() -> None:
    """The root's MPI leaves its sockets inheritable; nothing of that is for us or our forks."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                pass  # the one that listed the others


def main() -> int:
    """The fork server's life; or, in a process forked from it, that one's."""
    _close_inherited()
    server = ForkServer()
    if server.run():
        from cmpi._runtime.process import worker

        random.seed()
        sys.modules["numpy.random"].seed()
        worker.run(server.leash)
    return 0
