"""The host spawner: plays the root's part towards MPI on another host, beside a spawn completer of its own.

Each host has its own `mpiexec`, started by the agent there, so that no MPI spans several hosts and none
fails with another. (With one mpiexec for all hosts, Hydra uses a new ssh for each process on another host,
0.5 s each time, Open MPI 5.0.11 loses connects, and both end when a host is lost.)
"""

from __future__ import annotations

import os
import select
import time
from collections import deque

from cmpi._core.job.interpreter import Interpreter
from cmpi._core.job.job_actions import Launch
from cmpi._core.protocol import helper_root
from cmpi._runtime import environment
from cmpi._runtime.root import spawn_room
from cmpi._runtime.root.fork_server_process import ForkServerProcess
from cmpi._runtime.root.spawner import Spawner
from cmpi._transport import control_socket, mpi


class HostSpawner:
    """Serves the root. `run` returns when the root has gone."""

    def __init__(self) -> None:
        self._host = os.environ[environment.HOST]
        self._root = control_socket.to_root(os.environ, helper_root.TO_HOST_SPAWNER)
        self._root.send(helper_root.HelperUp(helper_root.HOST_SPAWNER, self._host, ""))
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._failures: deque[helper_root.SpawnFailed] = deque()
        self._spawner = Spawner(self._spawn_failed)
        self._rooms = spawn_room.of_host()
        self._fork_server = ForkServerProcess()

    def run(self) -> int:
        """Serve; the exit code, 0."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        while not self._root.closed:
            backlog = select.POLLOUT if self._root.backlog else 0
            poll.register(self._root, select.POLLIN | backlog)
            ready = {fd for fd, _ in poll.poll(self._watch_fork_server(poll))}
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                while self._failures:
                    self._root.send(self._failures.popleft())
            if self._fork_server.fileno() in ready:
                poll.unregister(self._fork_server.fileno())
                self._no_fork_server(self._fork_server.ended())
            if self._root.fileno() in ready:
                self._root.flush()
                for frame in self._root.receive():
                    self._obey(frame)
        if not self._spawner.close():
            os._exit(1)  # a thread is inside MPI for good: MPI_Finalize would not return either
        return 0

    def _obey(self, frame: object) -> None:
        if isinstance(frame, helper_root.SpawnThere):
            lack = spawn_room.lack(self._rooms, frame.n)
            if lack:
                self._root.send(helper_root.SpawnFailed(frame.start, lack))
            else:
                self._spawner.submit(Launch(frame.start, [0] * frame.n, self._host, frame.forked))
        elif isinstance(frame, helper_root.StartForkServer):
            try:
                self._fork_server.start(Interpreter(frame.python, frame.flags, frame.settings))
            except OSError as error:
                self._no_fork_server(f"{frame.python}: {error.strerror}")

    def _watch_fork_server(self, poll: select.poll) -> float | None:
        """Have poll notice the end of one; how long it may wait, in milliseconds."""
        server, now_s = self._fork_server, time.monotonic()
        server.tick(now_s)
        if server.fileno() < 0:
            return None
        poll.register(server.fileno(), select.POLLIN)
        return None if server.deadline_s is None else max(0.0, server.deadline_s - now_s) * 1000

    def _no_fork_server(self, reason: str) -> None:
        self._root.send(helper_root.HelperUp(helper_root.FORK_SERVER, self._host, reason))

    def _spawn_failed(self, start: int, reason: str) -> None:
        """In the spawner's thread."""
        self._failures.append(helper_root.SpawnFailed(start, reason))
        try:
            os.write(self._wake_write, b"x")
        except BlockingIOError:
            pass  # full of wake-ups already


def main() -> int:
    """Run the host spawner; returns the exit code."""
    host_spawner = HostSpawner()
    mpi.tell_spawn_completer()
    return host_spawner.run()
