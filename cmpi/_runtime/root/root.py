"""The root, with the bridge and the scheduler. It never runs user code.

One loop receives frames from monitors, helpers and cmpirun, asks the `JobMachine` what to do, and does it.
Everything that may block is in other threads: MPI_Comm_spawn in the spawner's, the terminal in the
bridge's, stdin in the feeder's.
"""

from __future__ import annotations

import _socket
import os
import time

from cmpi._core.job import deadlock, job_actions, slots, start_numbers
from cmpi._core.job.batch_end import BatchEnd
from cmpi._core.job.connection_broker import PATIENCE_S
from cmpi._core.job.deadlock import Deadlock, Probe
from cmpi._core.job.job import JobMachine
from cmpi._core.job.job_actions import Tell
from cmpi._core.job.report import deadlock_report, end_event, final_report
from cmpi._core.output.output import NORMAL
from cmpi._core.protocol import deployment_root, guest_root, helper_root, launcher_root, monitor_root
from cmpi._core.protocol.process_root_waits import AskBlocked
from cmpi._core.protocol.wire import encode, handler
from cmpi._runtime import environment
from cmpi._runtime.batch_end import in_batch_job
from cmpi._runtime.linux import host_facts, leftovers
from cmpi._runtime.root.console import Console, Consoles
from cmpi._runtime.root.control_peers import ControlPeer, ControlPeers
from cmpi._runtime.root.deployment_table import DeploymentTable
from cmpi._runtime.root.guest_table import GuestTable
from cmpi._runtime.root.helpers import Helpers
from cmpi._runtime.root.launcher_connection import LauncherConnection
from cmpi._runtime.root.monitor_table import MonitorTable
from cmpi._runtime.root.root_loop import RootLoop
from cmpi._runtime.root.slot_monitors import SlotMonitors
from cmpi._transport import clock, job_secret
from cmpi._transport.door import Door
from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SIGPIPE, SIGTERM = 13, 15
LEAVE_S = 2.0  # how long monitors may take to end what is left, once the job is over


class Root:
    """The root's loop, and the parts of the root. `run` returns when the job is over."""

    def __init__(self) -> None:
        self._folder = os.environ[environment.JOB]
        secret = job_secret.read(self._folder)
        self._launcher = LauncherConnection(self._folder + "/launcher", secret.key)
        self._order = order = self._launcher.order
        *terminal, listening = self._launcher.descriptors
        door = Door(_socket.socket(fileno=listening), secret.key)
        self._secret = secret  # keeps the key alive, which the door uses
        self._loop = loop = RootLoop()
        self._start_s = time.monotonic()
        self._finish: int | None = None
        self._leave_s: float | None = None
        self._batch_end = BatchEnd(in_batch_job())
        self._here = order.here or os.uname().nodename
        self._job = JobMachine(
            host_facts.hosts(order, self._here),
            seed=int.from_bytes(os.urandom(3), "little"),
            bells=self._folder,
            shared_memory_bytes=order.shared_memory_bytes,
            enforce=order.enforce,
            secret=os.urandom(32),
            deadline_s=order.deadline_s,
            grace_s=order.grace_s,
            patience_s=order.host_timeout_s or PATIENCE_S,
            strict=order.strict,
            standing=order.standing,
            fabric=order.fabric,
        )
        self._console = Console(
            NO_PID, order, terminal, self._job, loop, self._do, self._printed, self._unread
        )
        self._bridge, self._say = self._console.bridge, self._console.say
        self._consoles = Consoles(self._job, self._console)
        self._monitors = MonitorTable(self._job, self._consoles, loop, self._do, self._terminated)
        self._deployments = DeploymentTable(
            self._job,
            self._here,
            self._folder,
            order.inherited,
            self._consoles,
            self._monitors,
            loop,
            self._do,
            self._printed,
        )
        self._helpers = Helpers(
            self._folder,
            self._here,
            self._job,
            loop,
            do=self._do,
            say=self._say,
            tell_launcher=self._launcher.send,
            give_up=self._give_up,
        )
        self._slots = SlotMonitors(self._job, self._monitors, self._helpers.launch, self._do)
        self._helpers.slots, self._monitors.ending = self._slots, self._helpers.ending
        self._guests = GuestTable(
            self._job,
            self._here,
            self._folder,
            os.environ[environment.SHARED_MEMORY],
            loop,
            self._do,
            self._say,
            order.keeper,
        )
        self._peers = ControlPeers(loop, door, self._introduce, self._say)
        for table in (self._monitors, self._helpers, self._slots, self._guests, self._deployments):
            table.peers = self._peers
        self._carry_out = self._actions()
        self._introductions: dict[type, Callable[[ControlPeer, Any], None]] = {
            monitor_root.MonitorUp: self._monitor_up,
            helper_root.HelperUp: self._helpers.take_in,
            guest_root.GuestUp: self._guests.take_in,
            guest_root.StopJob: lambda *_: self._interrupt(SIGTERM),
            deployment_root.DeploymentUp: self._deployments.take_in,
            deployment_root.Visit: self._deployments.visit,
            deployment_root.AskDeployments: lambda peer, _: self._deployments.list_to(peer),
            helper_root.Complaint: lambda _, frame: self._say(frame.text),
        }

    def run(self) -> int:
        """Run the job; returns the root's own exit code, 0."""
        self._launcher.serve(self._loop, self._requests(), self._say)
        where = [host or self._here for host in self._order.where]
        begun = self._order.begun
        self._do(self._job.launch(self._order.argv, where, self._order.rank_cpu_units, started=begun))
        if begun:
            self._helpers.expect(start_numbers.RANKS, len(where))
        if self._order.standing:
            self._helpers.prepare()
        self._guests.start()
        self._launcher.send(launcher_root.TakesGuests())
        while not self._over():
            self._loop.turn(self._timeout_s())
            now_s = clock.now_s()
            if self._batch_end.tick(now_s):
                self._do(self._job.interrupt(SIGTERM, now_s))
            self._do(self._job.tick(now_s))
            for console in self._consoles:
                console.tick(now_s)
            self._deployments.tick(now_s)
            self._guests.tick(now_s)
            self._peers.admit(now_s)
            self._helpers.tick(now_s)
            self._slots.tick(now_s)
        self._say_goodbye()
        return 0

    # -- the loop --------------------------------------------------------------------------

    def _timeout_s(self) -> float | None:
        times = [machine.deadline_s() for machine in (self._job, self._batch_end, *self._consoles)]
        times += [self._peers.deadline_s, self._helpers.deadline_s, self._slots.deadline_s, self._leave_s]
        times += [self._deployments.deadline_s, self._guests.deadline_s]
        return clock.patience_s(times)

    def _over(self) -> bool:
        if self._launcher.closed and self._finish is None:
            self._give_up()  # cmpirun was killed: there is nobody to report to
        if self._finish is None:
            return False
        if self._leave_s is None:
            self._leave_s = clock.now_s() + LEAVE_S
            self._monitors.dismiss_all()
            self._guests.dismiss_all()
            self._deployments.dismiss_all()
            self._slots.close()
        left = len(self._monitors) or len(self._slots) or self._helpers.busy or self._deployments.visited
        return not left or clock.now_s() >= self._leave_s

    def _introduce(self, peer: ControlPeer, frame: Any) -> None:
        """The first frame of a connection tells what it is."""
        handler(self._introductions, frame)(peer, frame)

    def _monitor_up(self, peer: ControlPeer, frame: monitor_root.MonitorUp) -> None:
        self._helpers.monitor_up(frame)
        (self._slots if frame.start >= slots.FIRST else self._monitors).take_in(peer, frame)

    # -- what the machines want done -------------------------------------------------------

    def _do(self, actions: list[Any]) -> None:
        for action in actions:
            self._carry_out[type(action)](action)
        for action in actions:  # after the notices of these ends, which may wake somebody
            if isinstance(action, job_actions.Died):
                own = self._consoles.of(action.pid)
                self._do(own.deadlock.died(action.pid))
                for other in [it for it in self._consoles if it is not own]:
                    self._do(other.deadlock.others_died())

    def _actions(self) -> dict[type, Callable[[Any], None]]:
        return {
            Tell: self._tell,
            Probe: lambda it: self._do([Tell(pid, AskBlocked(it.round)) for pid in it.pids]),
            Deadlock: lambda it: self._end_deadlock(it.owner),
            job_actions.BeginProcess: lambda it: self._monitors.begin(it.pid, it.settings),
            job_actions.Order: self._order_to,
            job_actions.Launch: self._launch,
            job_actions.LaunchWorld: self._launch_world,
            job_actions.Born: lambda it: self._consoles.of(it.pid).born(it.pid),
            job_actions.Named: lambda it: self._consoles.of(it.pid).bridge.named(
                self._job.processes[it.pid]
            ),
            job_actions.Died: self._died,
            job_actions.Say: lambda it: self._consoles.say(it.text, it.pid),
            job_actions.TellPreload: lambda it: self._helpers.load(it.frame),
            job_actions.NeedForkServer: lambda it: self._helpers.start_fork_server(it.host, it.interpreter),
            job_actions.FinishJob: lambda it: self._finish_with(it.code),
            job_actions.Forget: self._forget,
            job_actions.FinishProgram: lambda it: self._deployments.finish(it.owner, it.code),
        }

    def _tell(self, action: Tell) -> None:
        if action.pid in self._monitors:
            self._monitors.tell(action.pid, monitor_root.ToRank(encode(action.frame)))
        elif action.pid in self._guests:
            self._guests.tell(action.pid, action.frame)

    def _order_to(self, action: job_actions.Order) -> None:
        if action.pid in self._guests:
            self._guests.order(action.pid, action.frame)
        elif action.pid in self._deployments:
            self._deployments.order(action.pid, action.frame)
        else:
            self._monitors.tell(action.pid, action.frame)

    def _launch(self, action: job_actions.Launch) -> None:
        if action.in_slot and not self._helpers.has_no_folder:
            self._slots.want(action.start, action.host)
        else:
            self._helpers.launch(action)

    def _launch_world(self, action: job_actions.LaunchWorld) -> None:
        self._launcher.send(launcher_root.StartWorld(action.start, action.hosts))

    def _died(self, action: job_actions.Died) -> None:
        self._consoles.of(action.pid).died(action.pid)
        self._slots.withdraw(self._job.processes[action.pid].start)

    def _forget(self, action: job_actions.Forget) -> None:
        for console in self._consoles:
            for pid in action.pids:
                console.bridge.forget(pid)

    def _end_deadlock(self, owner: int) -> None:
        program = self._job.programs[owner]
        if program.deployed and not program.alone:
            return  # a process of another program may still wake one of this program
        console = self._consoles.of_owner(owner)
        if self._job.waits_for_others(owner):
            console.deadlock.postpone()
            return
        console.bridge.say(deadlock_report(self._job, console.deadlock.blocked), alarm=True)
        if failure := final_report(self._job, console.bridge.tail, NORMAL, owner):
            console.bridge.say(failure, alarm=True)  # it came first, and may be why the others wait
        because = "all processes of the job waited for each other"
        code = program.code or deadlock.CODE
        self._do(self._job.interrupt(SIGTERM, clock.now_s(), because, code, owner=owner))

    def _finish_with(self, code: int) -> None:
        self._finish = code
        self._helpers.over()

    def _give_up(self) -> None:
        self._finish_with(1)

    def _printed(self, pid: int, nbytes: int) -> None:
        taken = monitor_root.OutputTaken(nbytes)
        if pid == NO_PID:
            self._launcher.send(taken)
        else:
            self._monitors.tell(pid, taken)

    # -- what cmpirun says -----------------------------------------------------------------

    def _requests(self) -> dict[type, Callable[[Any], None]]:
        return {
            launcher_root.Interrupt: lambda it: self._interrupt(it.signal),
            launcher_root.ShowStacks: lambda _: self._console.stacks.show(),
            launcher_root.LauncherOutput: lambda it: self._bridge.output_of_launcher(it.fd, it.data),
            launcher_root.HostLost: self._host_lost,
            launcher_root.HostBack: self._host_back,
            launcher_root.WorldFailed: self._world_failed,
            launcher_root.FabricFailed: lambda it: self._do(self._job.connections.fabric_failed(it.reason)),
        }

    def _interrupt(self, signal: int) -> None:
        again, now_s = self._job.interruption is not None, clock.now_s()
        if self._batch_end.by_cmpirun(signal, now_s, interrupted=again):
            self._do(self._job.hurry(now_s) if again else self._job.interrupt(signal, now_s))

    def _terminated(self) -> None:
        """A monitor reports that Slurm has sent SIGTERM to everything."""
        if self._batch_end.by_slurm(interrupted=self._job.interruption is not None):
            self._do(self._job.interrupt(SIGTERM, clock.now_s(), by_slurm=True))

    def _unread(self) -> None:
        """The reader of the job's output has closed it."""
        self._do(self._job.interrupt(SIGPIPE, clock.now_s(), code=self._bridge.code(0) or None))

    def _host_lost(self, frame: launcher_root.HostLost) -> None:
        self._slots.host_lost(frame.name)
        self._do(self._job.host_lost(frame.name, frame.reason, clock.now_s()))
        self._launcher.send(launcher_root.HostForgotten(frame.name))

    def _host_back(self, frame: launcher_root.HostBack) -> None:
        back = host_facts.place(frame.host)
        self._helpers.host_back(back.name)
        self._do(self._job.host_back(back))

    def _world_failed(self, frame: launcher_root.WorldFailed) -> None:
        self._do(self._job.start_failed(frame.start, frame.reason, clock.now_s()))

    # -- the end ---------------------------------------------------------------------------

    def _say_goodbye(self) -> None:
        in_order = self._helpers.close()
        if self._launcher.closed:
            leftovers.remove_folders((self._folder, os.environ[environment.SHARED_MEMORY]))
            leftovers.remove_unmapped_segments(leftovers.REMOVE_S)
        else:
            self._launcher.take_last_output()
            code = self._finish or 0
            self._bridge.ended(end_event(self._job, code, time.monotonic() - self._start_s))
            self._bridge.finish(final_report(self._job, self._bridge.tail, self._order.verbosity))
            self._launcher.send(launcher_root.Final(self._bridge.code(code)))
        self._peers.close()
        if not in_order:
            os._exit(1)  # a thread is stuck in MPI: MPI_Finalize would not return either


def main() -> int:
    """Run the root; returns its exit code."""
    return Root().run()
