"""The host spawner: plays the root's part towards MPI on another host, next to its own spawn completer.

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
from cmpi._runtime.linux import pid_files
from cmpi._runtime.root import spawn_room
from cmpi._runtime.root.expected import Expected
from cmpi._runtime.root.fork_server_process import ForkServerProcess
from cmpi._runtime.root.spawner import Spawner
from cmpi._transport import control_socket, mpi


class HostSpawner:
    """Serves the root. `run` returns when the root has ended."""

    def __init__(self) -> None:
        self._host = os.environ[environment.HOST]
        self._root = control_socket.to_root(os.environ, helper_root.TO_HOST_SPAWNER)
        self._root.send(helper_root.HelperUp(helper_root.HOST_SPAWNER, self._host, ""))
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._failures: deque[helper_root.SpawnFailed] = deque()
        self._spawner = Spawner(self._spawn_failed)
        self._rooms = spawn_room.of_host()
        self._fork_server = ForkServerProcess()
        self._expected = Expected(os.environ[environment.JOB])
        self._expected.started(pid_files.COMPLETER, time.monotonic())

    def run(self) -> int:
        """Serve; returns the exit code, 0."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        while not self._root.closed:
            backlog = select.POLLOUT if self._root.backlog else 0
            poll.register(self._root, select.POLLIN | backlog)
            self._watch_fork_server(poll)
            ready = {fd for fd, _ in poll.poll(self._tick())}
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
            os._exit(1)  # a thread is stuck in MPI: MPI_Finalize would not return either
        return 0

    def _obey(self, frame: object) -> None:
        if isinstance(frame, helper_root.SpawnThere):
            now_s = time.monotonic()
            lack = self._spawner.stuck(self._expected.heard_s, now_s)
            lack = lack or spawn_room.lack(self._rooms, frame.n, len(self._expected))
            if lack:
                self._root.send(helper_root.SpawnFailed(frame.start, lack))
            else:
                for rank in range(frame.n):
                    self._expected.started(pid_files.start(frame.start, rank), now_s)
                self._spawner.submit(Launch(frame.start, [0] * frame.n, self._host, frame.forked))
        elif isinstance(frame, helper_root.StartForkServer):
            try:
                self._fork_server.start(Interpreter(frame.python, frame.flags, frame.settings))
            except OSError as error:
                self._no_fork_server(f"{frame.python}: {error.strerror}")
        elif isinstance(frame, helper_root.IsUp):
            self._expected.came(frame.what, time.monotonic())

    def _watch_fork_server(self, poll: select.poll) -> None:
        """Have poll notice the end of the fork server."""
        if self._fork_server.fileno() >= 0:
            poll.register(self._fork_server.fileno(), select.POLLIN)

    def _tick(self) -> float | None:
        """Do what is due; return how long poll may wait, in milliseconds."""
        server, now_s = self._fork_server, time.monotonic()
        server.tick(now_s)
        for what, port in self._expected.ended(now_s):
            self._root.send(helper_root.EndedUnheard(what, port))
        reason = self._spawner.stuck(self._expected.heard_s, now_s)
        for start in self._spawner.give_up() if reason else ():
            self._root.send(helper_root.SpawnFailed(start, reason))
        times_s = [self._expected.deadline_s, server.deadline_s if server.fileno() >= 0 else None]
        next_s = min((time_s for time_s in times_s if time_s is not None), default=None)
        return None if next_s is None else max(0.0, next_s - now_s) * 1000

    def _no_fork_server(self, reason: str) -> None:
        self._root.send(helper_root.HelperUp(helper_root.FORK_SERVER, self._host, reason))

    def _spawn_failed(self, start: int, reason: str) -> None:
        """Report a failed start. Called in the spawner's thread."""
        self._failures.append(helper_root.SpawnFailed(start, reason))
        try:
            os.write(self._wake_write, b"x")
        except BlockingIOError:
            pass  # there are enough wake-ups in it already


def main() -> int:
    """Run the host spawner; returns the exit code."""
    host_spawner = HostSpawner()
    mpi.tell_spawn_completer()
    return host_spawner.run()
