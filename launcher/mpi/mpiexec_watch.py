"""Watches the job from outside: tells the root what to run, passes signals on, kills what does not end."""

from __future__ import annotations

import _socket
import os
import select
import signal
import sys

from cmpi._core.job.start_numbers import RANKS
from cmpi._core.protocol import launcher_root, monitor_root
from cmpi._core.protocol.wire import handler
from cmpi._runtime.linux import shared_memory_room
from cmpi._transport import clock, control_socket
from cmpi.errors import ProtocolError
from cmpi.launcher.mpi.launcher_output import why_ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._transport.door import Door
    from cmpi.launcher.hosts.multi_host import MultiHost
    from cmpi.launcher.mpi.launcher_output import MpiexecOutput

LEAVE_S = 3.0  # for mpiexec to end after the root's final frame
DAMAGED = b"PMIX_ERR_UNREACH"  # a process died in MPI_Init, where cmpi kills none: see `Pmi.fragile`


class MpiexecWatch:
    """Supervises the mpiexec of the root, and that of the ranks. `run` returns the exit code of the job.

    Args:
        pids: Process ids of the root's mpiexec and, if the ranks have one, theirs; each leads a session of
            its own.
        door: Where the root will connect.
        order: The order for the root.
        fds: The terminal's descriptors 0, 1, 2, for the root.
        listening: The socket where the root is to listen, which the root gets.
        output: Reads their output.
        others: The other hosts, if there are any.
        kind: "openmpi" or "mpich".
        ready: Called when the root accepts guests.
    """

    def __init__(
        self,
        pids: list[int],
        door: Door,
        order: launcher_root.LaunchJob,
        fds: list[int],
        listening: _socket.socket,
        output: MpiexecOutput,
        others: MultiHost | None = None,
        *,
        kind: str,
        ready: Callable[[], None],
    ) -> None:
        self._kind = kind
        self._pids, self._door = pids, door
        self._order, self._fds, self._output = order, fds, output
        self._listening = listening
        self._others = others
        if others is not None:
            others.noise = output.keep
        self._pidfds = [os.pidfd_open(pid) for pid in pids]
        self._root: control_socket.ControlSocket | None = None
        self._damaged = False
        self._code: int | None = None
        self._interrupted = 0  # the first signal that asked the job to end
        self._hurried = False  # whether there was a second one
        self._deadline_s: float | None = None
        self._running = set(self._pidfds)
        self._world_ended = False  # and the root knows
        self._handlers: dict[type, Callable[[Any], None]] = {
            launcher_root.Final: self._final,
            launcher_root.AskOutput: self._give_output,
            launcher_root.TakesGuests: lambda _: ready(),
            monitor_root.OutputTaken: lambda frame: output.taken(frame.nbytes),
            **({} if others is None else others.requests),
        }

    def run(self) -> int:
        """Wait for the end of the job; returns its exit code."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            # Signals ignored by nohup or `&` stay ignored, except SIGQUIT, which only asks for a report.
            if number == signal.SIGQUIT or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: None)
        if self._others is not None:
            # A stopped cmpirun sends no heartbeats, and the other hosts would end the job.
            signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        try:
            while self._running:
                self._turn(wake_read)
        finally:
            self._end_session()
        if self._code is not None:
            self._output.drain()
            return self._code
        return 128 + self._interrupted if self._interrupted else self._died_early()

    def _turn(self, wake: int) -> None:
        poll = select.poll()
        for fd in (*self._running, wake):
            poll.register(fd, select.POLLIN)
        self._output.register(poll)
        if self._root is None:
            poll.register(self._door, select.POLLIN)
        elif not self._root.closed:
            backlog = select.POLLOUT if self._root.backlog else 0
            poll.register(self._root.fileno(), select.POLLIN | backlog)
        if self._others is not None:
            self._others.register(poll)
        times = [self._deadline_s, None if self._others is None else self._others.deadline_s]
        times += [self._output.deadline_s, self._door.deadline_s if self._root is None else None]
        left_s = clock.patience_s(times)
        ready = {fd for fd, _ in poll.poll(None if left_s is None else left_s * 1000)}
        if wake in ready:
            for number in os.read(wake, 64):
                self._on_signal(number)
        self._output.serve(ready)
        self._look_for_damage()
        if self._root is None:
            self._meet_root()
        elif self._root.fileno() in ready:
            self._hear_root(self._root)
        if self._others is not None:
            self._others.serve(ready)
        self._look_for_ends(ready)
        if self._deadline_s is not None and clock.now_s() >= self._deadline_s:
            self._end_session()

    def _look_for_ends(self, ready: set[int]) -> None:
        ended, self._running = self._running & ready, self._running - ready
        if self._pidfds[0] in ended and self._code is None and self._running:
            # The root has died, and the ranks end with it. MPI's launcher removes its files meanwhile.
            self._listening.close()
            os.kill(self._pids[-1], signal.SIGTERM)
            self._deadline_s = clock.now_s() + LEAVE_S
        if self._root is not None:
            self._report_world(self._root)

    def _report_world(self, root: control_socket.ControlSocket) -> None:
        """Tell the root, once, that the ranks' mpiexec has ended: no more of them will come up."""
        if self._world_ended or self._pidfds[-1] in self._running or len(self._pidfds) == 1:
            return
        self._world_ended = True
        said = self._output.noise.decode("utf-8", "replace").strip()
        root.send(launcher_root.WorldFailed(RANKS, why_ended(said)))

    def _meet_root(self) -> None:
        for sock in self._door.admit(clock.now_s()):
            self._root = stream = control_socket.ControlSocket(sock, launcher_root.TO_LAUNCHER)
            control_socket.send_with_fds(stream, self._order, [*self._fds, self._listening.fileno()])
            self._listening.close()
            self._output.pass_on = self._pass_on
            if self._others is not None:
                self._others.attend(stream.send)
            if self._interrupted:
                stream.send(launcher_root.Interrupt(self._interrupted))
            self._door.close()
            return

    def _pass_on(self, fd: int, data: bytes) -> None:
        assert self._root is not None
        self._root.send(launcher_root.LauncherOutput(fd, data))

    def _hear_root(self, root: control_socket.ControlSocket) -> None:
        root.flush()
        try:
            for frame in root.receive():
                handler(self._handlers, frame)(frame)
        except ProtocolError as error:
            print(f"cmpirun: the root sent a frame that cannot be read: {error}", file=sys.stderr)
            root.closed = True
        if root.closed or self._code is not None:
            # The root has left or is about to: the rest of the job gets this long to end.
            self._deadline_s = clock.now_s() + (LEAVE_S if self._code is not None else 0.5)

    def _final(self, frame: launcher_root.Final) -> None:
        self._code = frame.code
        self._output.root_has_left()

    def _give_output(self, _: launcher_root.AskOutput) -> None:
        assert self._root is not None
        self._output.read_all()
        self._output.hold()
        self._root.send(launcher_root.AllOutput())

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGQUIT and self._root is not None:
            self._root.send(launcher_root.ShowStacks())
        if number not in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            return
        if self._hurried or self._root is None:
            self._code = 128 + number
            self._end_session()  # on the third signal, or before there is a root to tell
        else:
            self._root.send(launcher_root.Interrupt(number))
            self._hurried = bool(self._interrupted)
            grace_s = 0.0 if self._hurried else self._order.grace_s
            self._deadline_s = clock.now_s() + grace_s + LEAVE_S
        self._interrupted = self._interrupted or number

    def _look_for_damage(self) -> None:
        if not self._damaged and DAMAGED in self._output.noise:
            self._damaged = True
            if self._code is None and not self._interrupted:
                what = "a process was killed inside MPI_Init, not by cmpi"
                print(f"cmpirun: {what}; MPI's launcher may fail later spawns", file=sys.stderr)

    def _end_session(self) -> None:
        """Kill what is left of the sessions, and reap each mpiexec."""
        for pid in self._pids:
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass  # already reaped
        self._running.clear()

    def _died_early(self) -> int:
        """Report what is known when the root ended without a final frame; returns cmpirun's exit code."""
        self._output.drain()
        what = "could not start the job"
        if self._root is not None:
            # Hydra does not reliably say which, and kills the root before the root can say so.
            what = (
                "the job has ended with the root, the spawn completer, or a process that MPI was starting"
            )
        print(f"cmpirun: {what}; MPI's launcher said:", file=sys.stderr)
        for line in self._output.noise.decode("utf-8", "replace").splitlines() or ["(nothing)"]:
            print(f"    {line}", file=sys.stderr)
        lack = shared_memory_room.lack(self._kind)
        if lack:
            print(f"cmpirun: {lack}", file=sys.stderr)
        return 1
