"""The monitor, which runs beside each process and is its parent.

It starts the process, forwards its output and its frames to and from the root, and reports how it ended. It
lives as long as any descendant of the process does; when the root dismisses it, or has ended, it ends all
descendants.

The monitor of a slot forks one process after another, each before it is known which closure it will run.
"""

from __future__ import annotations

import os
import select
import sys
import time

from cmpi._core.job import slots, start_numbers
from cmpi._core.monitor_life import MonitorLife
from cmpi._core.protocol import monitor_root
from cmpi._runtime import environment, programs
from cmpi._runtime.batch_end import in_batch_job
from cmpi._runtime.linux import descendants, free_ports, open_files
from cmpi._runtime.monitor.rank_command import rank_command
from cmpi._runtime.monitor.rank_stacks import RankStacksQuestions
from cmpi._runtime.monitor.start_child import BecomeProcess, add_defaults, start
from cmpi._runtime.monitor.watched_process import WatchedProcess
from cmpi._runtime.mpi_state import MpiState
from cmpi._transport import clock, control_socket
from cmpi._transport.pmi import Pmi
from cmpi.errors import LaunchError, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any

    from cmpi._runtime.monitor.start_child import ChildProcess
else:
    import _signal as signal  # without the enums of `signal`, 3 ms in every monitor

# Pauses between looks for a SIGTERM, and for descendants of the process; longer in an idle slot, whose end
# its stub announces.
LOOK_AROUND_S, IDLE_LOOK_S = 0.2, 5.0
# See `MonitorLife`. If the user ends the job, the root sets a longer time.
LINGER_S = 2.0


class Monitor:
    """The monitor of one process, or of the processes of a slot.

    Args:
        number: The number of the start to which it belongs, or of the slot.
        leash: A socket to the stub. If it is closed, MPI's launcher wants the monitor to end.
        fork_only: In the fork server: `run` raises `BecomeProcess` in a new process.
        lazy: The process starts MPI only when it imports it, which may be never.
    """

    def __init__(
        self, number: int, leash: Any = None, *, fork_only: bool = False, lazy: bool = False
    ) -> None:
        self._number, self._leash, self._fork_only, self._lazy = number, leash, fork_only, lazy
        self._is_slot = fork_only and number >= slots.FIRST
        self._pmi = Pmi(os.environ)
        self._root: control_socket.ControlSocket | None = None
        self._process: WatchedProcess | None = None
        self._count = 0  # processes so far
        self._stacks = RankStacksQuestions()
        # A closure's process joins after MPI_Init. What a program does is up to the program, but a death in
        # MPI_Init may harm other processes of the job too.
        self._protect = number != start_numbers.RANKS and self._pmi.fragile
        self._linger_s = LINGER_S if self._protect and number < slots.FIRST else 0.0
        self._life = MonitorLife(is_slot=self._is_slot, fragile=self._pmi.fragile, linger_s=self._linger_s)
        self._limit: monitor_root.LimitResources | None = None  # arrived before the process was started
        self._batch_ends = False  # Slurm has sent a SIGTERM

    def run(self) -> int:
        """Monitor the process from its start to its end; returns the exit code, always 0.

        MPI's launcher sees this code; the root decides about a process's own failure.
        """
        descendants.leave_group()
        signal.signal(signal.SIGTERM, self._on_batch_end if in_batch_job() else self._on_sigterm)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])  # see `batch_end`
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # from the terminal; the root decides what it means
        # The process must not see cmpi's variables in its environment, except those that name folders.
        ours = {
            name: os.environ.pop(name) for name in list(os.environ) if name.startswith(environment.PREFIX)
        }
        for name in environment.OF_PROCESSES:
            if name in ours:
                os.environ[name] = ours[name]
        if environment.OPEN_FILES in ours:  # raised because MPI's launcher needed more
            open_files.restore_limit(int(ours[environment.OPEN_FILES]))
        try:
            rank, port = self._pmi.rank, self._pmi.take_port()
            where = f"slot-{self._number - slots.FIRST}" if self._is_slot else f"{self._number}.{rank}"
            self._name = f"{os.path.basename(ours[environment.JOB])}.{where}"  # of a cgroup, if one is made
            # Forking takes longer than all other steps, and needs no order.
            fault = self._fork() if self._fork_only else ""
            self._root = control_socket.to_root(ours, monitor_root.TO_MONITOR)
        except (OSError, ProtocolError) as error:
            print(f"cmpi monitor: no way to the root: {error}", file=sys.stderr)
            descendants.end_all()
            self._pmi.finalize(killed=True)
            return 0
        self._report_up(port)
        if self._process is not None:
            self._report_started(self._process)
        if fault and not self._is_slot:
            self._cannot_run(126, fault)
        while not self._finished(self._root):
            self._turn(self._root)
        left = descendants.end_all()
        if left:
            self._send(monitor_root.Output(2, f"cmpi: {left}\n".encode("utf-8", "surrogateescape")))
        if self._process is not None:
            self._process.remove()
        self._finalize(killed=True)
        self._say_goodbye(self._root)
        return 0

    def bury(self) -> int:
        """Finish the work of a killed monitor of this start; returns the exit code, 0.

        Hydra ends the whole job unless somebody finalizes PMI for the process. The root may not have heard
        of the killed monitor: now it does, and then sees the connection close.
        """
        self._pmi.finalize(killed=True, instead=True)
        try:
            self._root = control_socket.to_root(os.environ, monitor_root.TO_MONITOR)
            self._report_up("")
            self._say_goodbye(self._root)
            time.sleep(self._linger_s)
        except (OSError, ProtocolError):
            pass  # the job is over
        return 0

    def _send(self, frame: Any) -> None:
        assert self._root is not None
        self._root.send(frame)

    def _report_up(self, port: str) -> None:
        here, rank = os.uname().nodename, self._pmi.rank
        ahead = self._is_slot and self._process is not None
        service = 0 if rank or self._number >= slots.FIRST else free_ports.find()
        self._send(monitor_root.MonitorUp(self._number, rank, os.getpid(), here, port, service, ahead))

    def _report_started(self, process: WatchedProcess) -> None:
        self._send(monitor_root.ProcessStarted(process.child.pid))

    # -- one turn of the loop --------------------------------------------------------------

    def _turn(self, root: control_socket.ControlSocket) -> None:
        poll, process = select.poll(), self._process
        poll.register(root, select.POLLIN if not root.backlog else select.POLLIN | select.POLLOUT)
        if self._leash is not None and not self._life.ending:
            poll.register(self._leash, select.POLLIN)
        if process is not None:
            process.register(poll)
        ready = {fd for fd, _ in poll.poll(self._patience_s(process) * 1000)}
        if root.fileno() in ready:
            self._hear_root(root)
        if self._leash is not None and self._leash.fileno() in ready:
            self._life.told_to_end()
        for answer in self._stacks.answers():
            self._send(answer)
        if self._batch_ends:  # sent before the end of the process, as its explanation
            self._send(monitor_root.JobTerminated())
            self._batch_ends = False
        if process is None:
            return
        if self._life.ending:
            process.signal(signal.SIGKILL, at_once=True)
        process.serve(ready, self._life.ending)
        if self._life.running and process.exited is not None:
            self._has_exited(process, process.exited)
        if self._life.reusable and self._is_over(process) and process.printed:
            process.remove()
            self._process = None
            self._life.process_removed()
            self._send(monitor_root.SlotIdle())

    def _patience_s(self, process: WatchedProcess | None) -> float:
        """How long to wait for the next event; negative: without limit."""
        if process is None:
            return IDLE_LOOK_S if self._is_slot else LOOK_AROUND_S
        if process.exited is not None:
            return LOOK_AROUND_S
        left_s = clock.patience_s([*process.deadlines_s(clock.now_s()), *self._stacks.deadlines_s])
        return -1 if left_s is None else left_s

    def _finished(self, root: control_socket.ControlSocket) -> bool:
        over = self._process is not None and self._is_over(self._process)
        return self._life.finished(clock.now_s(), root_gone=root.closed, over=over)

    @staticmethod
    def _is_over(process: WatchedProcess) -> bool:
        """Whether the process has ended, and no descendant is left."""
        closed = process.child.out < 0 and process.child.err < 0
        return process.reported and closed and not descendants.have_children()

    # -- from the root ---------------------------------------------------------------------

    def _hear_root(self, root: control_socket.ControlSocket) -> None:
        root.flush()
        for frame in root.receive():
            if isinstance(frame, monitor_root.AskRankStacks):
                running = self._process is not None and self._process.exited is None
                pid = self._process.child.pid if self._process is not None and running else 0
                if answer := self._stacks.ask(pid, frame.watching):
                    self._send(answer)
            elif self._process is None:
                self._hear_without_process(frame)
            else:
                self._hear_with(self._process, frame)

    def _hear_without_process(self, frame: Any) -> None:
        if isinstance(frame, monitor_root.StartProcess):
            self._start(frame)
        elif isinstance(frame, monitor_root.ForkNext):
            if fault := self._fork():
                self._send(monitor_root.SlotIdle(fault))
        elif isinstance(frame, monitor_root.LimitResources):
            self._limit = frame
        elif isinstance(frame, monitor_root.Dismiss):
            self._life.dismiss()
        elif isinstance(frame, monitor_root.Signal) and self._life.signalled(frame.linger_s):
            self._send(monitor_root.ProcessExited(128 + frame.signal, frame.signal))

    def _hear_with(self, process: WatchedProcess, frame: Any) -> None:
        if isinstance(frame, monitor_root.OutputTaken):
            process.taken(frame.nbytes)
        elif isinstance(frame, monitor_root.ToRank):
            process.pass_on(frame.data)
        elif isinstance(frame, monitor_root.Stdin):
            process.input(frame.data)
        elif isinstance(frame, monitor_root.Signal):
            self._life.signalled(frame.linger_s)
            if not frame.by_slurm:
                process.signal(frame.signal)
        elif isinstance(frame, monitor_root.LimitResources):
            process.limit(frame)
        elif isinstance(frame, monitor_root.Dismiss):
            self._life.dismiss()
            process.signal(signal.SIGKILL)

    def _start(self, order: monitor_root.StartProcess) -> None:
        try:
            for setting in order.settings:
                name, given, value = setting.partition("=")
                os.environ.pop(name, None)
                if given:
                    os.environ[name] = value
            if names := add_defaults(os.environ, order.defaults):
                os.environ[environment.WORLD] = ",".join(names)
            program = start_numbers.is_program(self._number)
            if not program:
                # A closure is run by a program of cmpi's, whose path only this host knows.
                argv = [*order.argv, *programs.isolated(programs.WORKER)]
            else:
                argv = rank_command(order.argv, order.cwd)
            with self._pmi.relay:
                child = start(
                    argv, order.cwd, order.stdin, fork=False, protect=self._protect and not program
                )
                self._pmi.relay.started(child.pid)
            process = self._watch(child, None)
            if self._limit is not None:
                process.limit(self._limit)
        except LaunchError as error:
            self._cannot_run(127 if "not found" in str(error) else 126, str(error))

    def _cannot_run(self, code: int, reason: str) -> None:
        self._send(monitor_root.CannotRun(reason))
        self._send(monitor_root.ProcessExited(code))
        self._life.cannot_run()

    def _fork(self) -> str:
        """Fork the process, or the next one of a slot. Returns "", or why that is impossible.

        Raises:
            BecomeProcess: In the new process.
        """
        mpi = MpiState() if self._lazy else None
        try:
            with self._pmi.relay:
                child = start([], "/", False, fork=True, protect=self._protect and mpi is None)
                self._pmi.relay.started(child.pid)
        except BecomeProcess as process:
            process.mpi = mpi
            if self._root is not None:
                self._root.close()
            raise
        except LaunchError as error:
            return str(error)
        self._watch(child, mpi)
        return ""

    def _watch(self, child: ChildProcess, mpi: MpiState | None) -> WatchedProcess:
        self._count += 1
        name = f"{self._name}.{self._count}"
        program = start_numbers.is_program(self._number)
        self._process = process = WatchedProcess(
            child, self._send, name, self._pmi.relay, fragile=self._protect, mpi=mpi, program=program
        )
        self._life.process_started()
        if self._root is not None:
            self._report_started(process)
        return process

    # -- its end ---------------------------------------------------------------------------

    def _has_exited(self, process: WatchedProcess, exited: monitor_root.ProcessExited) -> None:
        """Finalize PMI for the process at once, because Hydra waits for that when others finalize."""
        if self._life.process_exited(exited.code, clock.now_s(), untouched=process.untouched):
            self._finalize(killed=exited.signal != 0)

    def _finalize(self, killed: bool) -> None:
        """Leave MPI's launcher in order, and tell the stub so."""
        self._pmi.finalize(killed)
        if self._leash is not None:
            try:
                self._leash.send(b"f")
            except OSError:
                pass  # the stub was killed

    @staticmethod
    def _say_goodbye(root: control_socket.ControlSocket) -> None:
        root.sock.settimeout(1.0)
        root.flush()
        root.close()

    def _on_batch_end(self, *_: object) -> None:
        self._batch_ends = True

    def _on_sigterm(self, *_: object) -> None:
        self._life.told_to_end()
        if self._process is not None:
            self._process.signal(signal.SIGKILL, at_once=True)
