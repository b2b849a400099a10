"""The monitor's process, from its start to its end: its input, its output and its exit."""

from __future__ import annotations

import os
import select
import time

from cmpi._core import limits
from cmpi._core.protocol import monitor_root
from cmpi._runtime.linux import kernel_kills, loaded_libraries, memory_usage
from cmpi._runtime.mpi_state import MpiState
from cmpi._transport import clock, joining

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import signal
    from collections.abc import Callable
    from typing import Any

    from cmpi._runtime.linux.cgroup import Cgroup
    from cmpi._runtime.monitor.start_child import ChildProcess
    from cmpi._transport.pmi_relay import PmiRelay
else:
    import _signal as signal  # without the enums of `signal`, 3 ms in every monitor

READ_BYTES = 256 * 1024
WINDOW_BYTES = 1 << 20  # output sent and not yet printed
YOUNG_S = 5.0  # by then a process must have passed MPI_Init


class WatchedProcess:
    """A process that runs, or has run. `serve` never blocks.

    Args:
        child: The process.
        send: Sends a frame to the root.
        name: The name of its cgroup, if it needs one.
        relay: The relay between the process and MPI's launcher; it knows how the process ended.
        fragile: MPI's launcher may crash if the process dies in MPI_Init.
        mpi: Where the process shows its state of MPI. None: it may be in MPI_Init from the start.
        program: Whether it is a user's program, which may not use MPI at all.
    """

    def __init__(
        self,
        child: ChildProcess,
        send: Callable[[Any], None],
        name: str,
        relay: PmiRelay,
        *,
        fragile: bool,
        mpi: MpiState | None,
        program: bool,
    ) -> None:
        self.child, self._send, self._name, self.mpi = child, send, name, mpi
        self._program = program
        self._relay_of_pmi, self._fragile = relay, fragile
        self._unprinted = 0
        self._young_until_s = clock.now_s() + YOUNG_S if fragile and mpi is None else 0.0
        self._held: list[int] = []  # signals to send when the process may die
        self._stdin: list[bytes] = []
        self._to_rank: list[bytes] = []
        self._has_joined = False
        self._memory = limits.MemoryWatch(0, limits.NONE)
        self._memory_due_s = 0.0  # when to look at its memory next
        self._cgroup: Cgroup | None = None
        self._kernel_kills = kernel_kills.count()  # at the last look
        self._killed = False  # by this monitor
        self.exited: monitor_root.ProcessExited | None = None
        self.reported = False

    @property
    def printed(self) -> bool:
        """Whether it has closed its output, and all of it is printed."""
        return self.child.out < 0 and self.child.err < 0 and not self._unprinted

    @property
    def untouched(self) -> bool:
        """Whether it is known never to have started MPI."""
        return self.mpi is not None and self.mpi.value == MpiState.UNTOUCHED

    # -- one turn of the loop --------------------------------------------------------------

    def register(self, poll: select.poll) -> None:
        """Register the descriptors to serve with `poll`."""
        child = self.child
        if self.exited is None:
            poll.register(child.pidfd, select.POLLIN)
        for fd in (child.out, child.err):
            if fd >= 0 and self._unprinted < WINDOW_BYTES:
                poll.register(fd, select.POLLIN)
        if child.inherited is not None:
            poll.register(child.inherited, select.POLLIN)
        if child.control is not None:
            poll.register(child.control, select.POLLIN | (select.POLLOUT if self._to_rank else 0))
        if child.stdin >= 0 and self._stdin:
            poll.register(child.stdin, select.POLLOUT)

    def deadlines_s(self, now_s: float) -> list[float]:
        """When to call `serve` even if no descriptor is ready."""
        due = [self._memory_due_s] if self._memory.watching else []
        if now_s < self._young_until_s:
            due.append(self._young_until_s)
        elif self._held:
            due.append(now_s + 0.01)
        return due

    def serve(self, ready: set[int], told: bool) -> None:
        """Serve the descriptors that are ready. `told`: MPI's launcher wants the process to end."""
        child = self.child
        if self._held and not self._is_young():
            held, self._held = self._held, []
            for number in held:
                self.signal(number)
        for number, fd in ((1, child.out), (2, child.err)):
            if fd in ready:
                self._forward(number, fd)
        if child.inherited is not None and child.inherited.fileno() in ready:
            self._let_join(child.inherited)
        elif child.control is not None and child.control.fileno() in ready:
            self._relay()
        if child.stdin in ready:
            self._feed()
        if self.exited is None and child.pidfd in ready:
            self._reap(told)
        if self.exited is not None and not self.reported:
            self._report()
        if self._memory.watching and self.exited is None and clock.now_s() >= self._memory_due_s:
            self._look_at_memory()

    # -- from the root ---------------------------------------------------------------------

    def taken(self, nbytes: int) -> None:
        """Note that this much of the process's output was printed."""
        self._unprinted -= nbytes

    def pass_on(self, data: bytes) -> None:
        """Pass on a piece of the stream of frames for the process."""
        self._to_rank.append(data)
        self._push()

    def input(self, data: bytes) -> None:
        """Pass on bytes for its stdin; no bytes mean the end."""
        self._stdin.append(data)

    def limit(self, order: monitor_root.LimitResources) -> None:
        """Set its memory limit. For a slot's process, this is when it becomes a process of the job."""
        self._kernel_kills = kernel_kills.count()
        self._memory = limits.MemoryWatch(order.memory_bytes, order.enforce)
        if order.enforce != limits.KILL or self.exited is not None:
            return
        from cmpi._runtime.linux import cgroup  # most processes need none

        bound = limits.kernel_bound(self._memory.limit_bytes)
        self._cgroup = cgroup.make(self._name, bound, order.cpu_weight)
        if self._cgroup is not None:
            self._cgroup.enter(memory_usage.family(self.child.pid))

    def signal(self, number: int, *, at_once: bool = False) -> None:
        """Send the process a signal, if it is running; while it must not die, hold the signal back, unless
        `at_once`."""
        if self.exited is not None:
            return
        if not at_once and self._is_young():
            if number not in self._held:
                self._held.append(number)
            return
        self._killed |= number == signal.SIGKILL
        try:
            os.killpg(self.child.pid, number)
        except PermissionError:
            pass  # the whole group belongs to another user by now, through sudo
        except ProcessLookupError:
            os.kill(self.child.pid, number)  # just forked, it has no group yet; or it is a zombie
        if number == signal.SIGKILL:
            try:
                os.kill(self.child.pid, number)  # it has left its group, or is the only one of another user
            except PermissionError:
                self._give_up()

    def _is_young(self) -> bool:
        """Whether the process may be in MPI_Init, where it must not die."""
        if self.mpi is not None:
            return self._fragile and self.mpi.value == MpiState.STARTING
        young = clock.now_s() < self._young_until_s
        return young and (not self._program or loaded_libraries.has_mpi(self.child.pid))

    def _look_at_memory(self) -> None:
        self._kernel_kills = kernel_kills.count()
        family = memory_usage.family(self.child.pid)
        used = memory_usage.resident_bytes(family)
        self._memory_due_s = clock.now_s() + self._memory.pause_s(used)
        if used > self._memory.limit_bytes:
            used = memory_usage.proportional_bytes(family)
        todo = self._memory.seen(used)
        if todo:
            self._say_over(used, todo)
        if todo == limits.KILL:
            for pid in reversed(family):
                try:
                    os.kill(pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass  # it has ended in the meantime, or belongs to another user through sudo

    def _say_over(self, used_bytes: int, todo: int) -> None:
        self._send(monitor_root.OverMemory(used_bytes, todo == limits.KILL, time.strftime("%H:%M:%S")))

    # -- from the process ------------------------------------------------------------------

    def _forward(self, number: int, fd: int) -> bool:
        """Pass on output from one descriptor; False if there is none now."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self._send(monitor_root.Output(number, data))
        self._unprinted += len(data)
        if not data:
            self.child.close_output(number)
        return bool(data)

    def _let_join(self, inherited: _socket.socket) -> bool:
        """Accept a request to join; False if there is none now."""
        try:
            sock = joining.take(inherited, self._has_joined)
        except BlockingIOError:
            return False
        except EOFError:
            self.child.close_inherited()
            return False
        if sock is not None:
            self._has_joined, self.child.control = True, sock
        return True

    def _relay(self) -> bool:
        """Pass on frames of the process to the root; False if there are none now."""
        self._push()
        if self.child.control is None:
            return False
        try:
            data = self.child.control.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self._young_until_s = 0.0
        if data:
            self._send(monitor_root.FromRank(data))
        else:
            self.child.close_control()
        return bool(data)

    def _push(self) -> None:
        """Write frames of the root to the process, as many as it takes."""
        while self._to_rank and self.child.control is not None:
            try:
                sent = self.child.control.send(self._to_rank[0])
            except BlockingIOError:
                return
            except OSError:
                self.child.close_control()
                return
            rest = self._to_rank[0][sent:]
            self._to_rank[:1] = [rest] if rest else []

    def _feed(self) -> None:
        data = self._stdin[0]
        try:
            written = os.write(self.child.stdin, data) if data else 0
        except BlockingIOError:
            return
        except OSError:
            data = b""  # it has closed its stdin: drop the rest
        if not data:
            self.child.close_stdin()
            self._stdin.clear()
            return
        self._stdin[:1] = [data[written:]] if written < len(data) else []
        self._send(monitor_root.StdinTaken(written))

    # -- its end ---------------------------------------------------------------------------

    def _reap(self, told: bool) -> None:
        _, status, used = os.wait4(self.child.pid, 0)
        code, number = self._relay_of_pmi.status(status)
        cpu_s = used.ru_utime + used.ru_stime
        by_kernel = number == signal.SIGKILL and not self._killed
        by_kernel = by_kernel and kernel_kills.count() > self._kernel_kills
        if self._cgroup is not None and self._cgroup.killed:
            self._say_over(limits.kernel_bound(self._memory.limit_bytes), limits.KILL)
        core = memory_usage.core_dump(self.child.pid) if os.WCOREDUMP(status) else ""
        peak = used.ru_maxrss * 1024
        self.exited = monitor_root.ProcessExited(code, number, told, by_kernel, peak, cpu_s, core)
        os.close(self.child.pidfd)

    def _give_up(self) -> None:
        """Take a process for killed that has become another user's, through sudo, and cannot be killed. It
        is named at the monitor's end, if it still runs then (see `descendants.end_all`)."""
        if not os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            self.exited = monitor_root.ProcessExited(128 + signal.SIGKILL, signal.SIGKILL)
            os.close(self.child.pidfd)

    def _report(self) -> None:
        """Report the exit, after all the output that the process wrote itself."""
        for number, fd in ((1, self.child.out), (2, self.child.err)):
            while fd >= 0 and self._unprinted < WINDOW_BYTES:
                if not self._forward(number, fd):
                    break
        if self._unprinted >= WINDOW_BYTES:
            return  # there may be more output, once some is printed
        while self.child.inherited is not None and self._let_join(self.child.inherited):
            pass
        while self._relay():
            pass
        assert self.exited is not None
        self._send(self.exited)
        self.reported = True

    def remove(self) -> None:
        """Free its resources, once all its descendants have ended."""
        if self._cgroup is not None:
            self._cgroup.remove()
        self.child.close()
