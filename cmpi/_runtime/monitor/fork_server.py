"""The fork server has libraries loaded, but MPI not started. It forks a monitor for each stub, and the
monitor forks the process.

A cold start spends nearly all its time loading the interpreter, libmpi with its dependencies, and numpy.
The fork server does that once per host. It has one thread and holds only its two sockets, so that forked
processes inherit nothing but the loaded modules.

The monitor for a slot's stub (see `_core/job/slots.py`) forks processes that start MPI when they import it.
That is impossible if a preloaded module already refers to `mpi4py.MPI`: then MPI starts when they join.
"""

from __future__ import annotations

import gc
import importlib
import os
import resource
import select
import sys

from cmpi._core.job import slots, start_numbers
from cmpi._core.protocol import helper_root
from cmpi._runtime import batch_end
from cmpi._runtime import environment as names
from cmpi._runtime.linux import loaded_libraries
from cmpi._runtime.monitor import trial
from cmpi._runtime.monitor.hand_over import HandOver
from cmpi._runtime.monitor.monitor import Monitor
from cmpi._runtime.monitor.start_child import BecomeProcess
from cmpi._runtime.process import apply_grant, inheritance, interpreter_end, lazy_mpi
from cmpi._transport import clock, control_socket, job_secret
from cmpi._transport.door import Door, listen
from cmpi._transport.pmi import Pmi

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import signal
else:
    import _signal as signal  # without the enums of `signal`, which every monitor would copy

PRELOADED = (
    "fcntl",
    "cmpi.channels.receiver",
    "cmpi.processes.process",
    "cmpi._runtime.linux.cgroup",
    "cmpi._runtime.process.worker",
    "cmpi._runtime.process.node",
    "cmpi._transport.arrays",
    "cmpi._transport.segment",
    "numpy.random",
)


class ForkServer:
    """Serves stubs until the root ends.

    In a forked process `run` returns True. `leash` is then a socket to the process's stub, which lives as
    long as any process keeps the socket open; `lazy` starts MPI in the process later, or is None if it is
    started at once.
    """

    def __init__(self) -> None:
        self.leash: _socket.socket | None = None
        self.lazy: lazy_mpi.LazyMpi | None = None
        folder = os.environ[names.JOB]
        self._root = control_socket.to_root(os.environ, helper_root.TO_FORK_SERVER)
        # A fork has one numpy thread, or as many as it is granted.
        apply_grant.blas_threads = int(os.environ.setdefault("OPENBLAS_NUM_THREADS", "1").strip() or 0)
        for module in PRELOADED:
            importlib.import_module(module)
        inheritance.flags()  # imports a lot
        self._hidden_mpi = lazy_mpi.HiddenMpi()
        self._freeze()
        # Forks must not inherit the secret: its page is empty in them.
        self._door = Door(listen(folder + "/fork"), job_secret.read(folder).key)
        self._coming: dict[int, HandOver] = {}  # by descriptor
        host = os.environ.get(names.HOST, "")
        self._root.send(helper_root.HelperUp(helper_root.FORK_SERVER, host, ""))
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # monitors are reaped by the kernel

    def run(self) -> bool:
        """Serve. Returns True in a process that is to run a closure, and False when the server ends."""
        while not self._root.closed:
            poll = select.poll()
            for fd in (self._root.fileno(), self._door.fileno(), *self._coming):
                poll.register(fd, select.POLLIN)
            ready = {fd for fd, _ in poll.poll(self._patience_ms())}
            if self._root.fileno() in ready:
                for frame in self._root.receive():
                    if isinstance(frame, helper_root.Load):
                        self._load(frame.modules, frame.path)
            now_s = clock.now_s()
            for stub in self._door.admit(now_s):
                self._coming[stub.fileno()] = HandOver(stub, now_s)
            for coming in list(self._coming.values()):
                if coming.fileno() in ready:
                    if self._progress(coming):
                        return True
                elif coming.deadline_s <= now_s:
                    self._refuse(coming)
        return False

    def _patience_ms(self) -> float | None:
        times = [self._door.deadline_s, *(coming.deadline_s for coming in self._coming.values())]
        left_s = clock.patience_s(times)
        return None if left_s is None else left_s * 1000

    def _load(self, modules: list[str], path: list[str]) -> None:
        sys.path += [folder for folder in path if folder not in sys.path]
        for module in modules:
            if fault := trial.fault(module):
                self._root.send(helper_root.Complaint(f"cannot preload {module}: {fault}"))
            else:
                importlib.import_module(module)
        self._freeze()

    def _freeze(self) -> None:
        # Garbage collectors in the forks do not touch frozen objects, so their pages stay shared. Python's
        # cache of attributes refers to names all over the heap; a fork would touch each that it replaces.
        loaded_libraries.count()  # the first callback of ctypes looks for SELinux in three files
        gc.collect()
        interpreter_end.prepare_forks()
        gc.freeze()
        getattr(sys, "_clear_internal_caches", sys._clear_type_cache)()

    def _progress(self, coming: HandOver) -> bool:
        """Take what a stub sends; True in the process that the stub's monitor starts."""
        try:
            complete = coming.progress()
        except (OSError, ValueError):
            complete = False
            self._refuse(coming)  # the stub was killed, or is not a stub
        return complete and self._serve(coming)

    def _refuse(self, coming: HandOver) -> None:
        del self._coming[coming.fileno()]
        coming.refuse()

    def _serve(self, coming: HandOver) -> bool:
        """Fork a monitor for a stub; True in the process that the monitor starts."""
        del self._coming[coming.fileno()]
        # The root is inside MPI_Comm_spawn until somebody connects to the port, so do that no later than
        # this.
        self._root.send(helper_root.PortIs(coming.start, Pmi(coming.environment).take_port()))
        try:
            forked = os.fork() == 0
        except OSError:
            forked = False  # no more processes are allowed; the stub tries to become the monitor itself
        if not forked:
            coming.refuse()
            return False
        self._door.close()
        self._root.close()
        for other in self._coming.values():
            other.refuse()
        try:
            coming.stub.setblocking(True)
            _take_over(coming)
            coming.stub.send(b"k")
            lazy = coming.start >= slots.FIRST and not self._hidden_mpi.found
            fork_only = not start_numbers.is_program(coming.start)
            Monitor(coming.start, leash=coming.stub, fork_only=fork_only, lazy=lazy).run()
        except BecomeProcess as process:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if process.mpi is None:
                self._hidden_mpi.show()
                self.leash = coming.stub
            else:
                self.lazy = lazy_mpi.LazyMpi(self._hidden_mpi, process.mpi, coming.stub)
            return True
        except BaseException:
            sys.excepthook(*sys.exc_info())
        os._exit(0)


def _take_over(coming: HandOver) -> None:
    """Become, in this fork, what the stub was started to be."""
    stub_pid, environment, fds = coming.stub_pid, coming.environment, coming.fds
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.sched_setaffinity(0, os.sched_getaffinity(stub_pid))
    for limit in inheritance.LIMITS:
        resource.setrlimit(limit, resource.prlimit(stub_pid, limit))
    for number, fd in enumerate(fds[:3]):
        os.dup2(fd, number)
        os.close(fd)
    _become_environment(environment)
    if len(fds) > 3:
        os.set_inheritable(fds[3], coming.start < slots.FIRST)


def _become_environment(environment: dict[str, str]) -> None:
    """Have exactly these variables. Most of them are the fork server's own: each change takes memory."""
    here = os.environ.copy()
    for name in here.keys() - environment.keys():
        del os.environ[name]
    for name, value in environment.items():
        if here.get(name) != value:
            os.environ[name] = value


def _close_inherited() -> None:
    """Close the sockets that the root's MPI has left inheritable: neither this process nor its forks may
    use them."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                pass  # the descriptor that listed the others


def main() -> int:
    """Run the fork server or, in a process forked from it, that process."""
    _close_inherited()
    batch_end.leave_sigterm_to_cmpirun()
    server = ForkServer()
    if server.run():
        from cmpi._runtime.process import worker

        # `random` does this by itself. A given seed takes a thirtieth of the time of none.
        sys.modules["numpy.random"].seed([*os.urandom(16)])
        worker.run(server.leash, server.lazy)
    return 0
