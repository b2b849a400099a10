"""The host spawner: plays the root's part towards MPI on another host, next to its own spawn completer.

Each host has its own `mpiexec`, started by the agent there, so that no MPI spans several hosts and none
fails with another. (With one mpiexec for all hosts, Hydra uses a new ssh for each process on another host,
0.5 s each time, Open MPI 5.0.11 loses connects, and both end when a host is lost.)
"""

from __future__ import annotations

import os

from cmpi._core.job.interpreter import Interpreter
from cmpi._core.job.job_actions import Launch
from cmpi._core.protocol import helper_root
from cmpi._core.protocol.wire import handler
from cmpi._runtime import environment
from cmpi._runtime.root.ending_processes import EndingProcesses
from cmpi._runtime.root.fork_server_process import ForkServerProcess
from cmpi._runtime.root.host_starts import HostStarts
from cmpi._runtime.root.root_loop import RootLoop
from cmpi._transport import clock, control_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class HostSpawner:
    """Serves the root. `run` returns when the root has ended."""

    def __init__(self) -> None:
        self._host = os.environ[environment.HOST]
        self._loop = RootLoop()
        self._root = control_socket.to_root(os.environ, helper_root.TO_HOST_SPAWNER)
        self._loop.watch(self._root.fileno(), self._hear_root)
        self._send(helper_root.HelperUp(helper_root.HOST_SPAWNER, self._host, ""))
        self._starts = HostStarts(os.environ[environment.JOB], self._spawn_failed)
        self._starts.prepare()
        self._fork_server = ForkServerProcess()
        self._ending = EndingProcesses(self._loop, self._host, lambda *_: False)
        self._handlers: dict[type, Callable[[Any], None]] = {
            helper_root.SpawnThere: self._spawn,
            helper_root.StartForkServer: self._start_fork_server,
            helper_root.IsUp: lambda frame: self._starts.came(frame.what),
            helper_root.TellEnd: self._tell_end,
        }

    def run(self) -> int:
        """Serve; returns the exit code, 0."""
        while not self._root.closed:
            parts = (self._starts, self._fork_server, self._ending)
            self._loop.turn(clock.patience_s([part.deadline_s for part in parts]))
            self._tick(clock.now_s())
        if not self._starts.close():
            os._exit(1)  # a thread is stuck in MPI: MPI_Finalize would not return either
        return 0

    def _send(self, frame: Any) -> None:
        self._root.send(frame)
        if self._root.backlog:
            self._loop.watch_writing(self._root.fileno(), True)

    def _hear_root(self, _: int) -> None:
        if self._root.flush():
            self._loop.watch_writing(self._root.fileno(), False)
        for frame in self._root.receive():
            handler(self._handlers, frame)(frame)

    def _tick(self, now_s: float) -> None:
        self._fork_server.tick(now_s)
        self._ending.tick(now_s)
        for what, port in self._starts.ended(now_s):
            self._send(helper_root.EndedUnheard(what, port))
        for start, reason in self._starts.hopeless(now_s):
            self._send(helper_root.SpawnFailed(start, reason))

    # -- what the root orders --------------------------------------------------------------

    def _spawn(self, frame: helper_root.SpawnThere) -> None:
        lack = self._starts.launch(Launch(frame.start, [0] * frame.n, self._host, frame.forked))
        if lack:
            self._send(helper_root.SpawnFailed(frame.start, lack))

    def _spawn_failed(self, start: int, reason: str) -> None:
        """Report a failed start. Called in the spawner's thread."""
        self._loop.post(lambda: self._send(helper_root.SpawnFailed(start, reason)))

    def _tell_end(self, frame: helper_root.TellEnd) -> None:
        has_ended = helper_root.HasEnded(frame.os_pid)
        self._ending.when_ended(self._host, frame.os_pid, lambda: self._send(has_ended))

    def _start_fork_server(self, frame: helper_root.StartForkServer) -> None:
        try:
            self._fork_server.start(Interpreter(frame.python, frame.flags, frame.settings))
        except OSError as error:
            self._no_fork_server(f"{frame.python}: {error.strerror}")
            return
        self._loop.watch(self._fork_server.fileno(), lambda _: self._fork_server_ended())

    def _fork_server_ended(self) -> None:
        self._loop.forget(self._fork_server.fileno())
        self._no_fork_server(self._fork_server.ended())

    def _no_fork_server(self, reason: str) -> None:
        self._send(helper_root.HelperUp(helper_root.FORK_SERVER, self._host, reason))


def main() -> int:
    """Run the host spawner; returns the exit code."""
    return HostSpawner().run()
