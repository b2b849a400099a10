"""The programs that were deployed into the job. A cmpirun shows the output of each, or the root keeps
it."""

from __future__ import annotations

import os
import time

from cmpi._core.job.interpreter import Interpreter
from cmpi._core.job.report import end_event, final_report
from cmpi._core.protocol import deployment_root, launcher_root
from cmpi._core.protocol.wire import handler
from cmpi._runtime.output_log import OutputLog
from cmpi._runtime.root.console import Console
from cmpi._runtime.root.deployment_record import DeploymentRecord
from cmpi._transport import clock
from cmpi.errors import ProtocolError
from cmpi.identifiers import OK, RAISED, ExitStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._core.job.job import JobMachine
    from cmpi._runtime.root.console import Consoles
    from cmpi._runtime.root.control_peers import ControlPeer, ControlPeers
    from cmpi._runtime.root.monitor_table import MonitorTable
    from cmpi._runtime.root.root_loop import RootLoop

SIGTERM, SIGPIPE = 15, 13
LEAVE_S = 2.0  # how long monitors may take to end what is left, once a program is over
MOST_KEPT = 32  # programs that have ended without anybody having read their output
KILLED = ExitStatus(RAISED, 0, "it has ended before its program")


class _Deployment:
    """One deployed program: the connection with its cmpirun, that cmpirun's terminal, and how far its end
    has come."""

    def __init__(
        self, peer: ControlPeer | None, console: Console, terminal: list[int], record: DeploymentRecord
    ) -> None:
        self.peer = peer  # None: the cmpirun has ended
        self.console, self.terminal, self.record = console, terminal, record
        self.start_s = time.monotonic()
        self.code: int | None = None  # the cmpirun's exit code, once all processes have ended
        self.leave_s: float | None = None  # when to stop waiting for monitors


class DeploymentTable:
    """All deployed programs, by the pids of their cmpiruns. Nothing blocks.

    Args:
        job: The job machine, which is told about them.
        host: The root's own host, where the cmpiruns run.
        folder: The job's folder there.
        inherited: The names of the variables in the environment of the job's own cmpirun.
        consoles: Gets a console for each program.
        monitors: The monitors of their processes.
        loop: The root's loop.
        do: Carries out actions.
        printed: Called with a pid and the number of its bytes that were printed.
    """

    def __init__(
        self,
        job: JobMachine,
        host: str,
        folder: str,
        inherited: list[str],
        consoles: Consoles,
        monitors: MonitorTable,
        loop: RootLoop,
        do: Callable[[list[Any]], None],
        printed: Callable[[int, int], None],
    ) -> None:
        self._job, self._host, self._folder, self._inherited = job, host, folder, inherited
        self._consoles, self._monitors = consoles, monitors
        self._loop, self._do, self._printed = loop, do, printed
        self._deployments: dict[int, _Deployment] = {}
        self._ended: dict[int, DeploymentRecord] = {}  # whose output waits
        self.peers: ControlPeers

    def __contains__(self, owner: int) -> bool:
        return owner in self._deployments

    # -- the loop --------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float | None:
        """When to call `tick`."""
        times = [it.leave_s for it in self._deployments.values() if it.leave_s is not None]
        return min(times, default=None)

    def tick(self, now_s: float) -> None:
        """Report the ends of programs of which nothing is left."""
        for owner, it in list(self._deployments.items()):
            if it.leave_s is not None and (it.leave_s <= now_s or not self._monitors.any_of(owner)):
                it.leave_s = None
                self._report(owner, it)
        self._drop_ended()

    # -- their cmpiruns --------------------------------------------------------------------

    def take_in(self, peer: ControlPeer, frame: deployment_root.DeploymentUp) -> None:
        """A cmpirun wants to deploy a program."""
        interpreter = Interpreter(frame.python, frame.flags, frame.settings)
        peer.title = "a cmpirun that deploys a program"
        peer.on_frame = lambda peer, frame: self._deploy(peer, frame, interpreter)
        peer.stream.take_descriptors()
        self.peers.send(peer, deployment_root.MayDeploy(self._inherited))

    def _deploy(self, peer: ControlPeer, order: Any, interpreter: Interpreter) -> None:
        terminal = peer.stream.descriptors()
        if not isinstance(order, launcher_root.LaunchJob) or len(terminal) != 3:
            for fd in terminal:
                os.close(fd)
            raise ProtocolError("a cmpirun that deploys a program sends its order, with three descriptors")
        owner, actions = self._job.deploy(order, interpreter, self._host, clock.now_s())
        if owner is None:
            for fd in terminal:
                os.close(fd)
            self.peers.drop(peer)
            return
        log = OutputLog(f"{self._folder}/output-{owner:07x}") if order.detached else None
        console = Console(
            owner,
            order,
            terminal,
            self._job,
            self._loop,
            self._do,
            self._printed,
            lambda: self._end(owner, SIGPIPE),
            log,
        )
        self._consoles.add(console)
        record = DeploymentRecord(self.peers, self._job.processes[owner].label, log)
        self._deployments[owner] = _Deployment(peer, console, terminal, record)
        requests = self._requests(owner)
        peer.on_frame = lambda _, frame: handler(requests, frame)(frame)
        if log is None:
            peer.gone = lambda _: self._gone(owner)
        else:
            log.grown = lambda: self._loop.post(record.answer)
            self._deployments[owner].peer = None
            self.peers.send(peer, deployment_root.Deployed(owner))
        self._do(actions)

    def _requests(self, owner: int) -> dict[type, Callable[[Any], None]]:
        """What a user may ask of a program, from its own terminal or another."""
        return {
            launcher_root.Interrupt: lambda it: self._interrupt(owner, it.signal),
            launcher_root.ShowStacks: lambda _: self._show_stacks(owner),
        }

    def _show_stacks(self, owner: int) -> None:
        if owner in self._deployments:
            self._deployments[owner].console.stacks.show()

    def _interrupt(self, owner: int, signal: int) -> None:
        if owner not in self._deployments:
            return
        if self._job.programs[owner].interruption is not None:
            self._do(self._job.hurry(clock.now_s(), owner))
        else:
            self._end(owner, signal)

    def _end(self, owner: int, signal: int) -> None:
        if owner in self._deployments:
            code = self._deployments[owner].console.bridge.code(0) or None
            why = "its program was ended"
            self._do(self._job.interrupt(signal, clock.now_s(), why, code, owner=owner))

    def _gone(self, owner: int) -> None:
        it = self._deployments[owner]
        it.peer = None
        status = KILLED if it.code is None else ExitStatus(OK)
        self._do(self._job.guest_ended(owner, status, clock.now_s()))

    def order(self, owner: int, _: Any) -> None:
        """A process wants such a cmpirun to end: end its program. If the job ends, all programs do."""
        if self._job.interruption is None:
            self._end(owner, SIGTERM)

    def list_to(self, peer: ControlPeer) -> None:
        """List the programs that are running, and those whose output waits."""
        records = self._records()
        answer = deployment_root.DeploymentsAre(
            list(records),
            [it.since_s for it in records.values()],
            [it.label for it in records.values()],
            [it.state for it in records.values()],
        )
        self.peers.send(peer, answer)

    def visit(self, peer: ControlPeer, frame: deployment_root.Visit) -> None:
        """A cmpirun wants to follow or end a program."""
        record = self._records().get(frame.pid)
        if record is None:
            self.peers.send(peer, deployment_root.NoDeployment())
        else:
            record.take_in(peer, self._requests(frame.pid))

    def _records(self) -> dict[int, DeploymentRecord]:
        return self._ended | {owner: it.record for owner, it in self._deployments.items()}

    # -- their ends ------------------------------------------------------------------------

    def finish(self, owner: int, code: int) -> None:
        """All processes of this program have ended; end what they have left behind, too."""
        it = self._deployments[owner]
        it.code, it.leave_s = code, clock.now_s() + LEAVE_S
        it.console.feeder.close()
        self._monitors.dismiss_of(owner)

    def _report(self, owner: int, it: _Deployment) -> None:
        assert it.code is not None
        bridge, verbosity = it.console.bridge, it.console.order.verbosity
        if self._job.interruption is not None:
            it.console.say("the job has been ended, and this program with it")
        bridge.ended(end_event(self._job, it.code, time.monotonic() - it.start_s, owner))
        report = final_report(self._job, bridge.tail, verbosity, owner)
        # The terminal may be slow; other programs do not wait for it.
        bridge.finish_later(report, lambda: self._loop.post(lambda: self._reported(owner)))

    def _reported(self, owner: int) -> None:
        it = self._deployments[owner]
        assert it.code is not None
        it.code = it.console.bridge.code(it.code)
        if it.peer is not None:
            self.peers.send(it.peer, launcher_root.Final(it.code))
            self.peers.drop(it.peer)
        del self._deployments[owner]
        it.record.code = it.code
        if it.record.log is not None:
            it.record.log.close()
            self._ended[owner] = it.record
            self._do(self._job.guest_ended(owner, ExitStatus(OK), clock.now_s()))
        it.record.answer()
        self._consoles.remove(it.console)
        self._job.forget_program(owner)
        for fd in it.terminal:
            os.close(fd)

    def _drop_ended(self) -> None:
        """Remove output that was read, and the oldest if there is too much."""
        seen = [owner for owner, it in self._ended.items() if it.seen and not it]
        for owner in {*seen, *list(self._ended)[:-MOST_KEPT]}:
            log = self._ended.pop(owner).log
            assert log is not None
            log.remove()

    @property
    def visited(self) -> bool:
        """Whether cmpiruns still read the output of programs that have ended."""
        return any(self._ended.values())

    def dismiss_all(self) -> None:
        """The job is over, whether the programs are or not. Visitors may read on for a while."""
        for it in list(self._deployments.values()):
            if it.peer is not None:
                self.peers.drop(it.peer)
