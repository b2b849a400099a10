"""The monitor: one beside each process, its parent.

It starts the process, passes on what it writes, what it says to the root and what the root says
to it, and reports how it ended. It outlives the process as long as something that the process
started lives on; when the root dismisses it, or is gone, it ends all of that.
"""

from __future__ import annotations

import os
import select
import sys
import time

from cmpi._core import limits
from cmpi._core.protocol import monitor_root
from cmpi._runtime import environment, programs
from cmpi._runtime.linux import descendants, free_ports, memory_usage, open_files
from cmpi._runtime.monitor.rank_command import rank_command
from cmpi._runtime.monitor.rank_stacks import RankStacksQuestions
from cmpi._runtime.monitor.start_child import ChildProcess, add_defaults, start
from cmpi._transport import control_socket, joining
from cmpi._transport.pmi import Pmi
from cmpi.errors import LaunchError, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import signal
    from typing import Any

    from cmpi._runtime.linux.cgroup import Cgroup
else:
    import _signal as signal  # without the enums of `signal`, 3 ms in every monitor

READ_BYTES = 256 * 1024
WINDOW_BYTES = 1 << 20  # output sent and not yet printed
LOOK_AROUND_S = 0.2  # without a running process: for a SIGTERM, and for what it left running
YOUNG_S = 5.0  # a process that must not die in MPI_Init should be through it by then
# After a death, before a fragile launcher learns of it: the rest of the world falls meanwhile. Where the
# user ends the job, the rest has the grace that the root names for that.
LINGER_S = 2.0


class Monitor:
    """The monitor of one process; `run` is its whole life.

    Args:
        number: Which start of the root's this belongs to.
        leash: A socket to the stub; its end means that MPI's launcher wants ours.
        fork_only: In the fork server: `run` raises `BecomeProcess` in the new process.
    """

    def __init__(self, number: int, leash: Any = None, fork_only: bool = False) -> None:
        self._number, self._leash, self._fork_only = number, leash, fork_only
        self._pmi = Pmi(os.environ)
        self._child: ChildProcess | None = None
        self._stacks = RankStacksQuestions()
        self._unprinted = 0
        self._told = False  # the launcher has asked for the end
        # A closure's process joins when it is through MPI_Init; what a rank does is its own business.
        self._protect = number != 0 and self._pmi.fragile
        self._young_until_s = 0.0  # it may be in MPI_Init until then
        self._held: list[int] = []  # signals for when it is not
        self._linger_s = LINGER_S if self._protect else 0.0
        self._linger_until_s = 0.0
        self._exited: monitor_root.ProcessExited | None = None
        self._reported = False
        self._stdin: list[bytes] = []
        self._to_rank: list[bytes] = []
        self._has_joined = False
        self._dismissed = False
        self._memory = limits.MemoryWatch(0, limits.NONE)
        self._memory_due_s = 0.0  # when to look at it next
        self._cgroup: Cgroup | None = None  # of the process
        self._kernel_kills = memory_usage.kernel_kills()  # when it was last looked at

    def run(self) -> int:
        """Monitor the process from its start to its end; returns the exit code, always 0.

        MPI's launcher sees this code; a process's own failure is the root's to judge.
        """
        descendants.leave_group()
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's; the root decides
        # What is ours in the environment is not for the process, but for where it finds things.
        ours = {
            name: os.environ.pop(name) for name in list(os.environ) if name.startswith(environment.PREFIX)
        }
        for name in environment.OF_PROCESSES:
            if name in ours:
                os.environ[name] = ours[name]
        if environment.OPEN_FILES in ours:  # MPI's launcher needed more than the user has asked for
            open_files.restore_limit(int(ours[environment.OPEN_FILES]))
        try:
            rank, port = self._pmi.rank, self._pmi.take_port()
            self._name = f"{os.path.basename(ours[environment.JOB])}.{self._number}.{rank}"
            if self._fork_only:
                # It needs no order to begin with MPI_Init, which takes longer than all the rest.
                self._bear([], "/", False, fork=True)
            self._root = control_socket.to_root(ours, monitor_root.TO_MONITOR)
        except (OSError, ProtocolError) as error:
            print(f"cmpi monitor: no way to the root: {error}", file=sys.stderr)
            descendants.end_all()
            self._pmi.finalize(killed=True)
            return 0
        self._report_up(port)
        while not self._finished():
            self._turn()
        left = descendants.end_all()
        if left:
            self._root.send(monitor_root.Output(2, f"cmpi: {left}\n".encode("utf-8", "surrogateescape")))
        if self._cgroup is not None:
            self._cgroup.remove()
        self._finalize(killed=True)
        self._say_goodbye()
        return 0

    def bury(self) -> int:
        """Do what is left to do for a monitor of this start that was killed; returns the exit code, 0.

        Hydra ends the whole job when nobody leaves in the process's name; and the root may not have heard
        of that monitor yet. It has then, and sees a connection close.
        """
        self._pmi.finalize(killed=True, instead=True)
        try:
            self._root = control_socket.to_root(os.environ, monitor_root.TO_MONITOR)
            self._report_up("")
            self._say_goodbye()
            time.sleep(LINGER_S if self._protect else 0.0)
        except (OSError, ProtocolError):
            pass  # the job is over
        return 0

    def _report_up(self, port: str) -> None:
        here, rank = os.uname().nodename, self._pmi.rank
        service = 0 if rank else free_ports.find()
        self._root.send(monitor_root.MonitorUp(self._number, rank, os.getpid(), here, port, service))

    # -- one turn of the loop --------------------------------------------------------------

    def _turn(self) -> None:
        poll = select.poll()
        wants = select.POLLIN if not self._root.backlog else select.POLLIN | select.POLLOUT
        poll.register(self._root, wants)
        if self._leash is not None and not self._told:
            poll.register(self._leash, select.POLLIN)
        child = self._child
        if child is not None:
            if self._exited is None:
                poll.register(child.pidfd, select.POLLIN)
            for fd in (child.out, child.err):
                if fd >= 0 and self._unprinted < WINDOW_BYTES:
                    poll.register(fd, select.POLLIN)
            if child.inherited is not None:
                poll.register(child.inherited, select.POLLIN)
            if child.control is not None:
                out = select.POLLOUT if self._to_rank else 0
                poll.register(child.control, select.POLLIN | out)
            if child.stdin >= 0 and self._stdin:
                poll.register(child.stdin, select.POLLOUT)
        ready = {fd for fd, _ in poll.poll(self._patience_s() * 1000)}
        if self._root.fileno() in ready:
            self._hear_root()
        if self._leash is not None and self._leash.fileno() in ready:
            self._told = True
        if self._told:
            self._signal(signal.SIGKILL)
        if self._held and not self._is_young():
            held, self._held = self._held, []
            for number in held:
                self._signal(number)
        for answer in self._stacks.answers():
            self._root.send(answer)
        if child is not None:
            self._serve(child, ready)
            if self._memory.watching and self._exited is None and time.monotonic() >= self._memory_due_s:
                self._look_at_memory(child)

    def _patience_s(self) -> float:
        """How long to wait for something to happen; negative: for ever."""
        if self._child is None or self._exited is not None:
            return LOOK_AROUND_S
        due = self._stacks.patience_s + ([self._memory_due_s] if self._memory.watching else [])
        if self._held:
            due.append(self._young_until_s)
        return max(0.0, min(due) - time.monotonic()) if due else -1

    def _look_at_memory(self, child: ChildProcess) -> None:
        self._kernel_kills = memory_usage.kernel_kills()
        family = memory_usage.family(child.pid)
        used = memory_usage.resident_bytes(family)
        self._memory_due_s = time.monotonic() + self._memory.pause_s(used)
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
                    pass  # ended meanwhile; or another user's, by sudo

    def _say_over(self, used_bytes: int, todo: int) -> None:
        self._root.send(monitor_root.OverMemory(used_bytes, todo == limits.KILL, time.strftime("%H:%M:%S")))

    def _serve(self, child: ChildProcess, ready: set[int]) -> None:
        for number, fd in ((1, child.out), (2, child.err)):
            if fd in ready:
                self._forward(child, number, fd)
        if child.inherited is not None and child.inherited.fileno() in ready:
            self._let_join(child, child.inherited)
        elif child.control is not None and child.control.fileno() in ready:
            self._relay(child)
        if child.stdin in ready:
            self._feed(child)
        if self._exited is None and child.pidfd in ready:
            self._reap(child)
        if self._exited is not None and not self._reported:
            self._report(child)

    def _finished(self) -> bool:
        if self._root.closed or self._dismissed:
            return True
        child = self._child
        if child is None:
            return self._told
        if not self._reported or (time.monotonic() < self._linger_until_s and not self._told):
            return False
        return child.out < 0 and child.err < 0 and not descendants.have_children()

    # -- from the root ---------------------------------------------------------------------

    def _hear_root(self) -> None:
        self._root.flush()
        for frame in self._root.receive():
            if isinstance(frame, monitor_root.OutputTaken):
                self._unprinted -= frame.nbytes
            elif isinstance(frame, monitor_root.ToRank):
                self._to_rank.append(frame.data)
                if self._child is not None:
                    self._push(self._child)
            elif isinstance(frame, monitor_root.Stdin):
                self._stdin.append(frame.data)
            elif isinstance(frame, monitor_root.Signal) and self._child is None and not self._told:
                # It is not to begin any more.
                number = frame.signal
                self._root.send(monitor_root.ProcessExited(128 + number, number))
                self._told = True
            elif isinstance(frame, monitor_root.Signal):
                self._linger_s = max(self._linger_s, frame.linger_s)
                self._signal(frame.signal)
            elif isinstance(frame, monitor_root.StartProcess) and not self._fork_only:
                self._start(frame)
            elif isinstance(frame, monitor_root.AskRankStacks):
                pid = 0 if self._child is None or self._exited is not None else self._child.pid
                if answer := self._stacks.ask(pid, frame.watching):
                    self._root.send(answer)
            elif isinstance(frame, monitor_root.Limit):
                self._limit(frame)
            elif isinstance(frame, monitor_root.Dismiss):
                self._dismissed = self._child is None or self._exited is not None
                self._signal(signal.SIGKILL)

    def _limit(self, order: monitor_root.Limit) -> None:
        self._memory = limits.MemoryWatch(order.memory_bytes, order.enforce)
        if order.enforce != limits.KILL or self._child is None or self._exited is not None:
            return
        from cmpi._runtime.linux import cgroup  # most need none

        bound = limits.kernel_bound(self._memory.limit_bytes)
        self._cgroup = cgroup.make(self._name, bound, order.cpu_weight)
        if self._cgroup is not None:
            self._cgroup.enter(memory_usage.family(self._child.pid))

    def _start(self, order: monitor_root.StartProcess) -> None:
        try:
            for setting in order.settings:
                name, given, value = setting.partition("=")
                os.environ.pop(name, None)
                if given:
                    os.environ[name] = value
            if names := add_defaults(os.environ, order.defaults):
                os.environ[environment.WORLD] = ",".join(names)
            if self._number:
                # A closure's process runs a program of ours, and where that is only this host knows.
                argv = [*order.argv, *programs.isolated(programs.WORKER)]
            else:
                argv = rank_command(order.argv, order.cwd)
            self._bear(argv, order.cwd, bool(order.stdin), fork=False)
        except LaunchError as error:
            code = 127 if "not found" in str(error) else 126
            self._root.send(monitor_root.CannotRun(str(error)))
            self._root.send(monitor_root.ProcessExited(code))
            self._told = True  # nothing left to do here

    def _bear(self, argv: list[str], cwd: str, stdin: bool, *, fork: bool) -> None:
        self._child = start(argv, cwd, stdin, fork=fork, protect=self._protect)
        if self._protect:
            self._young_until_s = time.monotonic() + YOUNG_S

    def _signal(self, number: int) -> None:
        """Send the process a signal, if it runs; while it must not die, keep that for later."""
        if self._child is None or self._exited is not None:
            return
        if self._is_young():
            if number not in self._held:
                self._held.append(number)
            return
        try:
            os.killpg(self._child.pid, number)
        except PermissionError:
            pass  # all of it is another user's now, by sudo
        except ProcessLookupError:
            os.kill(self._child.pid, number)  # forked just now, it has no group yet; or it is a zombie

    def _is_young(self) -> bool:
        """Whether the process may be in MPI_Init and must not die there."""
        return not self._told and time.monotonic() < self._young_until_s

    # -- from the process ------------------------------------------------------------------

    def _forward(self, child: ChildProcess, number: int, fd: int) -> bool:
        """Pass on what one descriptor has; False if it has nothing now."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self._root.send(monitor_root.Output(number, data))
        self._unprinted += len(data)
        if not data:
            child.close_output(number)
        return bool(data)

    def _let_join(self, child: ChildProcess, inherited: _socket.socket) -> bool:
        """Take a request to join; False if there is none now."""
        try:
            sock = joining.take(inherited, self._has_joined)
        except BlockingIOError:
            return False
        except EOFError:
            child.close_inherited()
            return False
        if sock is not None:
            self._has_joined, child.control = True, sock
        return True

    def _relay(self, child: ChildProcess) -> bool:
        """Pass on what the process has for the root; False if there is nothing now."""
        self._push(child)
        if child.control is None:
            return False
        try:
            data = child.control.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self._young_until_s = 0.0
        if data:
            self._root.send(monitor_root.FromRank(data))
        else:
            child.close_control()
        return bool(data)

    def _push(self, child: ChildProcess) -> None:
        """Write to the process what the root has for it, as far as it takes it."""
        while self._to_rank and child.control is not None:
            try:
                sent = child.control.send(self._to_rank[0])
            except BlockingIOError:
                return
            except OSError:
                child.close_control()
                return
            rest = self._to_rank[0][sent:]
            self._to_rank[:1] = [rest] if rest else []

    def _feed(self, child: ChildProcess) -> None:
        data = self._stdin[0]
        try:
            written = os.write(child.stdin, data) if data else 0
        except BlockingIOError:
            return
        except OSError:
            data = b""  # it has closed its stdin: the rest is for nobody
        if not data:
            child.close_stdin()
            self._stdin.clear()
            return
        self._stdin[:1] = [data[written:]] if written < len(data) else []
        self._root.send(monitor_root.StdinTaken(written))

    # -- its end ---------------------------------------------------------------------------

    def _reap(self, child: ChildProcess) -> None:
        _, status, used = os.wait4(child.pid, 0)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = 128 + number if number else os.WEXITSTATUS(status)
        cpu_s = used.ru_utime + used.ru_stime
        by_kernel = number == signal.SIGKILL and memory_usage.kernel_kills() > self._kernel_kills
        if self._cgroup is not None and self._cgroup.killed:
            self._say_over(limits.kernel_bound(self._memory.limit_bytes), limits.KILL)
        core = memory_usage.core_dump(child.pid) if os.WCOREDUMP(status) else ""
        peak = used.ru_maxrss * 1024
        self._exited = monitor_root.ProcessExited(code, number, self._told, by_kernel, peak, cpu_s, core)
        os.close(child.pidfd)
        if self._pmi.fragile and code:
            self._linger_until_s = time.monotonic() + self._linger_s
        # At once, not at the monitor's own end: Hydra waits for it when the others finalize.
        self._finalize(killed=number != 0)

    def _finalize(self, killed: bool) -> None:
        """Leave MPI's launcher in order, and tell the stub that this was done."""
        self._pmi.finalize(killed)
        if self._leash is not None:
            try:
                self._leash.send(b"f")
            except OSError:
                pass  # it was ended

    def _report(self, child: ChildProcess) -> None:
        """Send the exit, behind everything that the process wrote itself."""
        for number, fd in ((1, child.out), (2, child.err)):
            while fd >= 0 and self._unprinted < WINDOW_BYTES:
                if not self._forward(child, number, fd):
                    break
        if self._unprinted >= WINDOW_BYTES:
            return  # there may be more: when some has been printed
        while child.inherited is not None and self._let_join(child, child.inherited):
            pass
        while self._relay(child):
            pass
        assert self._exited is not None
        self._root.send(self._exited)
        self._reported = True

    def _say_goodbye(self) -> None:
        self._root.sock.settimeout(1.0)
        self._root.flush()
        self._root.close()

    def _on_sigterm(self, *_: object) -> None:
        self._told = True
        self._signal(signal.SIGKILL)
