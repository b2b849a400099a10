"""This process's part in the job: its control connection, its links and its progress thread.

All state is guarded by one lock. The progress thread sleeps in poll on three descriptors (the
control connection, the doorbell, a pipe to nudge it) and moves frames when one of them speaks; a
person's thread waits on the condition of what it waits for. Nobody spins for longer than it takes
a frame to follow its ring.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time

from cmpi._core.protocol import process_root
from cmpi._core.protocol import process_root_connections as connecting
from cmpi._core.protocol.process_root_links import LinkedBy, Trap
from cmpi._core.protocol.process_root_waits import AskBlocked, AskStacks, Blocked, Stacks, StillBlocked
from cmpi._runtime.linux import host_facts, leftovers
from cmpi._runtime.process import inheritance
from cmpi._runtime.process.aborts import PendingAborts
from cmpi._runtime.process.condition import ChannelCondition
from cmpi._runtime.process.connector import ORDERS, Connector
from cmpi._runtime.process.dropped_ends import DroppedEnds
from cmpi._runtime.process.inlets import Inlets
from cmpi._runtime.process.node_lock import NodeLock, left
from cmpi._runtime.process.peer import Peer
from cmpi._runtime.process.root_connection import REPLIES, RootConnection
from cmpi._runtime.process.vital_thread import vital_thread
from cmpi._runtime.process.wait_registry import WaitRegistry, in_words
from cmpi._transport import mapped_file, mpi, socket_transport
from cmpi._transport.doorbell import Doorbell
from cmpi.identifiers import NO_PID, ExitStatus, Pid, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


SPINS = 200  # rounds without news before the thread sleeps between them
NAP_S = 50e-6  # such a sleep: MPI moves half a megabyte at most in a round
NAPS = 20_000  # so many of them, a second and more; after that the peer is stopped, or very slow:
LONG_NAP_S = 1e-3
STUCK_S = 120.0  # in one attempt to link by MPI, which has no limit of its own
WIDOWED_S = 1.0  # likewise, once the partner has died
WATCH_S = 1e-3  # between looks into a ring that need not be rung for
BLOCKED_S = 1.0  # of doing nothing but wait, before the root is told
LOOK_AROUND_S = 2.0  # a sleeper looks by itself, should a ring ever be lost


class Node:
    """One process of a job. `join` makes it; thread-safe."""

    def __init__(self, control: int, memory: str, resources: Resources | None = None) -> None:
        self.lock = NodeLock()
        self.waits = WaitRegistry()
        self._said_blocked = 0  # the epoch of the wait of which the root was told; 0: of none
        self._probe = 0  # what the root has asked, and is to be answered after looking around
        self.changed = ChannelCondition(self.lock)  # a reply, an exit, a link's end
        self._control = RootConnection(control, self.changed, self.waits)
        self.tell_root, self.ask_root = self._control.tell, self._control.ask
        self.ask_root_async, self.looked_at = self._control.ask_async, self._control.looked_at
        self._initialized_mpi = mpi.initialize()
        if mpi.vendor() == "mpich":
            leftovers.unlink_own_segments()
        name, self.interpreter = host_facts.memory_name(memory), inheritance.interpreter()
        self._control.join(name, self.interpreter, resources)
        self.closure: process_root.Closure | None = None
        welcome, early = self._control.await_welcome()
        self.pid = Pid(welcome.pid)
        self.parent = None if welcome.parent == NO_PID else Pid(welcome.parent)
        self.rank = welcome.rank
        self.world = [Pid(value) for value in welcome.world]
        self.resources = Resources.of_units(welcome.cpu_units, welcome.memory_bytes)
        self.cores, self.nice, self.deadline_s = welcome.cores, welcome.nice, welcome.deadline_s
        self.doorbell = Doorbell(welcome.bells, welcome.pid)
        self.shared_memory = memory if name and welcome.shared_memory_bytes else ""
        self.shared_memory_bytes = welcome.shared_memory_bytes
        self._memory = {welcome.parent: welcome.memory}  # by pid, as the root says
        self._connector = Connector(self)
        self.connecting = False  # the linker is inside MPI, where nobody else may be
        self._connecting_with, self._connecting_until_s = 0, 0.0
        self._peers: dict[int, Peer] = {}
        self.dropped_ends, self.aborts = DroppedEnds(self), PendingAborts(self.nudge)
        self.inlets = Inlets(self._peers)
        self._ended: dict[int, ExitStatus] = {}
        self.linked = set(welcome.linked)  # in Erlang's sense
        self._trapping = False
        self._watched, self._alive = set[int](), set[int]()  # alive: when the root was asked
        self._farewell = self._parting = self._closed = False
        self.failed = False  # ending by an error: peers learn that, rather than an orderly close
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.owner = os.getpid()  # a process forked from it is not the node
        mpi.on_finalize(self.close)
        self._thread = vital_thread(self._run, "cmpi-progress")
        for frame in early:
            self._hear(frame)
        mapped_file.keep_spare()
        with self.lock:
            self._look_for_rings()
            for linked in self.linked:
                self.watch(Pid(linked))
        self._thread.start()

    # -- what the root is told, and asked ------------------------------------------------------

    def failed_by(self, error: BaseException) -> None:
        """This process is about to end because of an exception."""
        from cmpi._runtime.process import last_words

        self.failed = True
        for frame in last_words.of(error):
            self.tell_root(frame)

    def watch(self, pid: Pid) -> None:
        """Have the root tell us when this process ends."""
        with self.lock:
            if pid.value in self._watched:
                return
            self._watched.add(pid.value)
        self.tell_root(process_root.Watch(pid.value))

    def await_answer(self, pid: Pid) -> None:
        """Wait until the root has said what it knows of a watched process. With the lock held.

        The first message to a process on this host is in the ring then, before `send` returns. Else it was
        left to the progress thread, which never came to run where the caller went on to keep the GIL:
        mpi4py's `allreduce`, `reduce` and `scan` of objects do while they wait (mpi4py 4.1.2), here for
        ranks that waited for that message.
        """
        self.changed.wait_for(lambda: pid.value in self._alive or pid.value in self._ended)

    def wait_exit(self, pid: Pid, timeout_s: float | None) -> ExitStatus:
        """Wait until a process has ended.

        Raises:
            TimeoutError: It runs on.
        """
        self.watch(pid)
        with self.lock:
            self.await_answer(pid)  # first: a process that has ended has ended, whatever the timeout

            def ended() -> bool:
                return pid.value in self._ended

            with self.waits.on("wait for", [pid], timeout_s, ended):
                self.changed.wait_for(ended, timeout_s)
            if not ended():
                raise TimeoutError(f"{pid} has not ended within {timeout_s} s")
            return self.received_end(pid)

    def tied(self, pid: int, on: bool) -> None:
        """This process and that one are linked, in Erlang's sense, or no more. With the lock held."""
        (self.linked.add if on else self.linked.discard)(pid)
        self.watch(Pid(pid))

    def trap(self, on: bool) -> bool:
        """Whether to hear of the ends of those linked with this process, rather than end with them.
        Returns what it was."""
        before, self._trapping = self._trapping, on
        self.tell_root(Trap(on))
        return before

    def ended(self, pid: int) -> ExitStatus | None:
        """How a watched process has ended, if it has. Call with the lock held."""
        return self._ended.get(pid)

    async def await_exit(self, pid: Pid) -> ExitStatus:
        """As `wait_exit`, in an event loop."""
        self.watch(pid)
        ended = self.waits.on("wait for", [pid], None, lambda: pid.value in self._ended)
        await self.changed.until(ended)
        return self.received_end(pid)

    def received_end(self, pid: Pid) -> ExitStatus:
        """How a watched process has ended, for the program to deal with."""
        if not self._ended[pid.value].ok:
            self.looked_at(pid)
        return self._ended[pid.value]

    def shares_memory(self, pid: Pid) -> bool | None:
        """Whether this process can send to that one through shared memory; None: not known yet."""
        memory = self._memory.get(pid.value, process_root.MEMORY_UNKNOWN)
        known = memory in (process_root.MEMORY_SHARED, process_root.MEMORY_APART)
        return memory == process_root.MEMORY_SHARED if known else None

    def likely_shares_memory(self, pid: Pid) -> bool:
        """Whether that one has not joined, and is expected to share memory with this process then."""
        return self._memory.get(pid.value) == process_root.MEMORY_LIKELY

    def peer(self, pid: Pid) -> Peer:
        """The other process, as far as links and channels go. Call with the lock held."""
        peer = self._peers.get(pid.value)
        if peer is None:
            peer = self._peers[pid.value] = Peer(self, pid)
            if pid.value in self._ended:
                peer.exited(self._ended[pid.value])
                peer.progress()
        return peer

    def wake_readers(self) -> None:
        """Ring for every peer that sleeps though something was sent to it. Without the lock."""
        for peer in list(self._peers.values()):
            peer.connection.wake()

    # -- the progress thread -----------------------------------------------------------------

    def nudge(self) -> None:
        """Have the progress thread look at its links now."""
        if threading.current_thread() is not self._thread:
            try:
                os.write(self._wake_write, b"x")
            except BlockingIOError:
                pass  # nudged already

    def _run(self) -> None:
        poll = select.poll()
        for source in (self._control, self.doorbell, self._wake_read):
            poll.register(source, select.POLLIN)
        idle = 0
        connections: dict[int, int] = {}
        while not self._closed:
            pause = self._pause(idle)
            connections = self._register(poll, connections)
            ready = {fd for fd, _ in poll.poll(pause)}
            if self.connecting and time.monotonic() > self._connecting_until_s:
                self._stuck_in_mpi()
            if self._control.fileno() in ready:
                for frame in self._control.receive():
                    self._hear(frame)
            with self.lock:
                if self._wake_read in ready:
                    os.read(self._wake_read, 4096)
                if self.doorbell.fileno() in ready:
                    self._hear_bell()
                if not ready and pause >= LOOK_AROUND_S * 1000:
                    self._look_for_rings()
                self.dropped_ends.close()
                if not self.failed:
                    self.aborts.post_due()
                moved = self._progress()
                self._say_whether_blocked()
                if self._parting and (moved or ready):
                    self.changed.notify_all()  # a link has come up, credit has come, all is sent
            idle = 0 if moved or ready else idle + 1

    def _register(self, poll: select.poll, before: dict[int, int]) -> dict[int, int]:
        """Have poll watch the links that can be waited on; what it watches of them now."""
        with self.lock:
            connections = [peer.connection for peer in self._peers.values()]
            now = {
                connection.descriptor: connection.events
                for connection in connections
                if connection.descriptor >= 0
            }
        for fd in before.keys() - now.keys():
            poll.unregister(fd)
        for fd, events in now.items():
            if before.get(fd) != events:
                poll.register(fd, events)
        return now

    def _hear_bell(self) -> None:
        for pid, sent in self.doorbell.rings():
            self.peer(Pid(pid)).connection.rung(sent)

    def _say_whether_blocked(self) -> None:
        """Tell the root that this process does nothing but wait; or no more; or what it has asked."""
        probe, self._probe = self._probe, 0
        stuck = self.waits.stuck(BLOCKED_S)
        epoch = self.waits.epoch if stuck and not any(p.under_way for p in self._peers.values()) else 0
        if probe:
            sent = sum(peer.connection.put_in for peer in self._peers.values())
            received = sum(peer.connection.taken_out for peer in self._peers.values())
            self.tell_root(StillBlocked(probe, epoch, sent, received))
        if epoch != self._said_blocked:
            self._said_blocked = epoch
            self.tell_root(Blocked(epoch, in_words(stuck)))

    def _look_for_rings(self) -> None:
        """What was sent before we had a bell, or with a ring that was lost."""
        if not self.shared_memory:
            return
        try:
            names = os.listdir(self.shared_memory)
        except OSError:
            return  # out of descriptors; the next time, then
        for name in names:
            writer, _, reader = name.partition("-")
            if reader == f"{self.pid.value:x}":
                self.peer(Pid(int(writer, 16))).connection.ring_inbox.map()

    def _pause(self, idle: int) -> float:
        """Milliseconds to poll for, after so many rounds without news."""
        with self.lock:
            peers = self._peers.values()
            restless = any(peer.restless for peer in peers)
            watched = any(peer.connection.ring_inbox.watched for peer in peers)
            held_s = self.aborts.pause_s
        if not restless:
            pause_s = WATCH_S if watched else LOOK_AROUND_S
            return 1000 * (pause_s if held_s is None else min(pause_s, held_s))
        if idle > SPINS:
            time.sleep(NAP_S if idle < SPINS + NAPS else LONG_NAP_S)
        return 0

    def _progress(self) -> bool:
        moved = False
        for pid, peer in list(self._peers.items()):
            moved |= peer.progress()
            if peer.over:
                del self._peers[pid]
        return moved

    def _hear(self, frame: Any) -> None:
        if isinstance(frame, ORDERS):
            self._connector.order(frame)
            return
        if isinstance(frame, connecting.Abandon):
            self._connector.abandon(frame.peer)
            if self.connecting and self._connecting_with == frame.peer:
                self._connecting_until_s = time.monotonic() + WIDOWED_S
            return
        if isinstance(frame, AskBlocked):
            self._probe = frame.number  # nobody is woken for it, who would then not sleep
            return
        if isinstance(frame, AskStacks):
            self.tell_root(Stacks(self.waits.stacks()))
            return
        with self.lock:
            if isinstance(frame, process_root.Ended):
                status = ExitStatus(frame.code, frame.signal, frame.verdict, frame.requested)
                self._ended[frame.pid] = status
                self._alive.discard(frame.pid)
                if frame.pid in self._peers:
                    self._peers[frame.pid].exited(status)
            elif isinstance(frame, process_root.Alive):
                self._alive.add(frame.pid)
                self._memory[frame.pid] = frame.memory
                if frame.pid in self._peers:
                    self._peers[frame.pid].connection.learn()
            elif isinstance(frame, REPLIES):
                self._control.answered(frame)
            elif isinstance(frame, LinkedBy):
                self.tied(frame.pid, frame.on)
            elif isinstance(frame, process_root.Closure):
                self.closure = frame
            elif isinstance(frame, connecting.Farewell):
                self._farewell = True
            self.changed.notify_all()

    def _stuck_in_mpi(self) -> None:
        """MPI never comes back, and this process could not even end with it."""
        partner = Pid(self._connecting_with)
        why = f"MPI has not come back from linking this process with {partner}"
        print(f"cmpi: {why}; it ends", file=sys.stderr, flush=True)
        self.tell_root(process_root.Raised(why, ""))
        os._exit(1)

    # -- what the linker says ------------------------------------------------------------------

    def enter_mpi(self, pid: int) -> None:
        """The linker is about to block in MPI, to be linked with `pid`: nobody else may call it."""
        with self.lock:
            self.connecting, self._connecting_with = True, pid
            self._connecting_until_s = time.monotonic() + STUCK_S
        self.nudge()  # the progress thread, to be there if MPI never comes back

    def leave_mpi(self) -> None:
        """MPI may be called again."""
        with self.lock:
            self.connecting = False
            for peer in list(self._peers.values()):
                peer.connection.flush()
        self.nudge()

    def listening(self, pid: int, port: int) -> None:
        """This process listens for that one, at a TCP port or (0) at a path."""
        self.tell_root(connecting.Listening(pid, port))

    def transport_made(self, pid: int, link: mpi.MpiTransport | socket_transport.SocketTransport) -> None:
        """There is a link with this process."""
        with self.lock:
            self.peer(Pid(pid)).transport_up(link)
        self.tell_root(connecting.ConnectionUp(pid))
        self.nudge()

    def connection_failed(self, pid: int) -> None:
        """There is none; the root orders it again, if the process lives."""
        self.tell_root(connecting.ConnectionFailed(pid))

    # -- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """Deliver everything that was sent, tell the peers, and leave. Blocks for that.

        Called at exit, or by MPI_Finalize if that comes first; a second call does nothing.
        """
        if self._closed or os.getpid() != self.owner:
            return
        with self.lock:
            if not self.failed:
                self.failed = not self.aborts.post_all()
            if not self.failed:
                self.inlets.settle()
                for peer in list(self._peers.values()):
                    peer.close_ends()
            self._part()
        self.tell_root(connecting.Leaving())
        with self.lock:
            self.changed.wait_for(lambda: self._farewell)
        self._connector.wait_idle()
        with self.lock:
            self._part()
            self._closed = True
        self.nudge()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        for peer in self._peers.values():
            peer.connection.free()
        self.doorbell.close()
        self.refuse(left)

    def _part(self) -> None:
        """Say goodbye to every peer as soon as nothing is left for it, until all have parted."""
        self._parting = True
        while True:
            for peer in list(self._peers.values()):
                peer.say_bye()
            if all(peer.parted for peer in self._peers.values()):
                return
            self.changed.wait(LOOK_AROUND_S)

    def refuse(self, error: Callable[[], Exception]) -> None:
        """Every call for which this node would be needed raises this error from now on."""
        self.lock.refuse(error)
        self._control.refuse(error)

    @property
    def left(self) -> bool:
        """Whether this process has left the job."""
        return self._closed

    @property
    def owns_mpi(self) -> bool:
        """Whether MPI was started by cmpi, which then ends it too."""
        return self._initialized_mpi
