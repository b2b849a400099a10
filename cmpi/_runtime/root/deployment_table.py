"""The programs that were deployed into the job; for each, a cmpirun shows its output."""

from __future__ import annotations

import os
import time

from cmpi._core.job.interpreter import Interpreter
from cmpi._core.job.report import end_event, final_report
from cmpi._core.protocol import deployment_root, launcher_root
from cmpi._core.protocol.wire import handler
from cmpi._runtime.root.console import Console
from cmpi.errors import ProtocolError
from cmpi.identifiers import OK, RAISED, ExitStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._core.job.job import JobMachine
    from cmpi._runtime.root.console import Consoles
    from cmpi._runtime.root.control_peers import ControlPeers, Peer
    from cmpi._runtime.root.monitor_table import MonitorTable
    from cmpi._runtime.root.root_loop import RootLoop

SIGTERM, SIGPIPE = 15, 13
LEAVE_S = 2.0  # how long monitors may take to end what is left, once a program is over
KILLED = ExitStatus(RAISED, 0, "it has ended before its program")


class _Deployment:
    """One deployed program: the connection with its cmpirun, that cmpirun's terminal, and how far its end
    has come."""

    def __init__(self, peer: Peer, console: Console, terminal: list[int]) -> None:
        self.peer: Peer | None = peer  # None: the cmpirun has ended
        self.console, self.terminal = console, terminal
        self.start_s, self.since_s = time.monotonic(), int(time.time())
        self.code: int | None = None  # the cmpirun's exit code, once all processes have ended
        self.leave_s: float | None = None  # when to stop waiting for monitors


class DeploymentTable:
    """All deployed programs, by the pids of their cmpiruns. Nothing blocks.

    Args:
        job: The job machine, which is told about them.
        host: The root's own host, where the cmpiruns run.
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
        inherited: list[str],
        consoles: Consoles,
        monitors: MonitorTable,
        loop: RootLoop,
        do: Callable[[list[Any]], None],
        printed: Callable[[int, int], None],
    ) -> None:
        self._job, self._host, self._inherited = job, host, inherited
        self._consoles, self._monitors = consoles, monitors
        self._loop, self._do, self._printed = loop, do, printed
        self._deployments: dict[int, _Deployment] = {}
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

    # -- their cmpiruns --------------------------------------------------------------------

    def take_in(self, peer: Peer, frame: deployment_root.DeploymentUp) -> None:
        """A cmpirun wants to deploy a program."""
        interpreter = Interpreter(frame.python, frame.flags, frame.settings)
        peer.title = "a cmpirun that deploys a program"
        peer.on_frame = lambda peer, frame: self._deploy(peer, frame, interpreter)
        peer.stream.take_descriptors()
        self.peers.send(peer, deployment_root.MayDeploy(self._inherited))

    def _deploy(self, peer: Peer, order: Any, interpreter: Interpreter) -> None:
        terminal = peer.stream.descriptors()
        if not isinstance(order, launcher_root.LaunchJob) or len(terminal) != 3:
            for fd in terminal:
                os.close(fd)
            raise ProtocolError("a cmpirun that deploys a program sends its order, with three descriptors")
        owner, actions = self._job.deploy(order, interpreter, self._host, time.monotonic())
        if owner is None:
            for fd in terminal:
                os.close(fd)
            self.peers.drop(peer)
            return
        console = Console(
            owner,
            order,
            terminal,
            self._job,
            self._loop,
            self._do,
            self._printed,
            lambda: self._end(owner, SIGPIPE),
        )
        self._consoles.add(console)
        self._deployments[owner] = _Deployment(peer, console, terminal)
        handlers: dict[type, Callable[[Any], None]] = {
            launcher_root.Interrupt: lambda it: self._interrupt(owner, it.signal),
            launcher_root.ShowStacks: lambda _: console.stacks.show(),
        }
        peer.on_frame = lambda _, frame: handler(handlers, frame)(frame)
        peer.gone = lambda _: self._gone(owner)
        self._do(actions)

    def _interrupt(self, owner: int, signal: int) -> None:
        if self._job.programs[owner].interruption is not None:
            self._do(self._job.hurry(time.monotonic(), owner))
        else:
            self._end(owner, signal)

    def _end(self, owner: int, signal: int) -> None:
        if owner in self._deployments:
            self._do(self._job.interrupt(signal, time.monotonic(), "its program was ended", owner=owner))

    def _gone(self, owner: int) -> None:
        it = self._deployments[owner]
        it.peer = None
        status = KILLED if it.code is None else ExitStatus(OK)
        self._do(self._job.guest_ended(owner, status, time.monotonic()))

    def order(self, owner: int, _: Any) -> None:
        """A process wants such a cmpirun to end: end its program. If the job ends, all programs do."""
        if self._job.interruption is None:
            self._end(owner, SIGTERM)

    def list_to(self, peer: Peer) -> None:
        """List the programs that are running."""
        answer = deployment_root.DeploymentsAre(
            list(self._deployments),
            [it.since_s for it in self._deployments.values()],
            [self._job.processes[owner].label for owner in self._deployments],
        )
        self.peers.send(peer, answer)

    # -- their ends ------------------------------------------------------------------------

    def finish(self, owner: int, code: int) -> None:
        """All processes of this program have ended; end what they have left behind, too."""
        it = self._deployments[owner]
        it.code, it.leave_s = code, time.monotonic() + LEAVE_S
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
        if it.peer is not None:
            assert it.code is not None
            self.peers.send(it.peer, launcher_root.Final(it.code))
            self.peers.drop(it.peer)
        del self._deployments[owner]
        self._consoles.remove(it.console)
        self._job.forget_program(owner)
        for fd in it.terminal:
            os.close(fd)

    def dismiss_all(self) -> None:
        """The job is over, whether the programs are or not."""
        for it in list(self._deployments.values()):
            if it.peer is not None:
                self.peers.drop(it.peer)
