"""This process's part in the job: its state, and the objects that act on it.

All state is guarded by one lock. The progress thread moves frames (`progress_loop`); a user's thread waits
on the condition for what it needs.
"""

from __future__ import annotations

import os
import sys
import threading

from cmpi._runtime.linux import host_facts, leftovers
from cmpi._runtime.process import inheritance, last_words, signal_guard
from cmpi._runtime.process.condition import ChannelCondition
from cmpi._runtime.process.connector import Connector
from cmpi._runtime.process.dropped_ends import DroppedEnds
from cmpi._runtime.process.exits import Exits
from cmpi._runtime.process.goodbye import Goodbye
from cmpi._runtime.process.inlets import Inlets
from cmpi._runtime.process.node_lock import NodeLock, forked
from cmpi._runtime.process.node_state import NodeState
from cmpi._runtime.process.peers import Peers
from cmpi._runtime.process.progress_loop import ProgressLoop
from cmpi._runtime.process.root_connection import RootConnection
from cmpi._runtime.process.root_frames import RootFrames
from cmpi._runtime.process.wait_registry import WaitRegistry
from cmpi._transport import mapped_file, mpi
from cmpi.identifiers import NO_PID, RAISED, ExitStatus, Pid, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from cmpi._core.protocol import process_root
    from cmpi._runtime.process.lazy_mpi import LazyMpi


class Node:
    """One process of a job. `join` creates it; thread-safe.

    Args:
        sock: A socket to this process's monitor; for a guest, to the root.
        memory: The folder for shared memory with processes of this host.
        resources: The resources that this process asks for, if any.
        lazy: Starts MPI when the program imports it. None: MPI starts here, unless this is a guest.
        guest: Whether the job has not started this process, which can go on without the job.
    """

    def __init__(
        self,
        sock: socket.socket,
        memory: str,
        resources: Resources | None = None,
        lazy: LazyMpi | None = None,
        guest: bool = False,
    ) -> None:
        self.is_guest = guest
        self.claim: Callable[[list[int]], None] = lambda pids: None  # told what this process has spawned
        self._progress_thread: threading.Thread | None = None
        self.lock = NodeLock()
        self.waits = WaitRegistry()
        self.changed = ChannelCondition(self.lock)  # a reply, an exit, the end of a connection
        orphaned = self._lose_job if guest else _end_with_monitor
        self.root = RootConnection(sock, self.changed, self.waits, orphaned)
        self.owns_mpi = (
            lazy is None and not guest and mpi.initialize()
        )  # whether cmpi has started MPI and must finalize it
        name, self.interpreter = host_facts.memory_name(memory), inheritance.interpreter()
        self.root.join(name, self.interpreter, resources)
        welcome, early = self.root.await_welcome()
        self._take_up(welcome)
        self.exits = Exits(self.changed, self.root, self.waits)
        self.exits.came_to_share(welcome.parent, welcome.memory)
        self.exits.linked.update(welcome.linked)
        self.state = state = NodeState(self.lock, self.root, self.exits, welcome, memory if name else "")
        self.peers = Peers(state, self.exits)
        self.inlets = state.inlets = Inlets(self.peers, self.lock, state.socket_waits)
        self.dropped_ends = DroppedEnds(state)
        connector = Connector(state, self.peers)
        self._goodbye = Goodbye(state, self.changed, self.root, self.peers, connector, self.inlets)
        frames = RootFrames(
            state,
            self.changed,
            self.root,
            self.exits,
            self.peers,
            connector,
            self.waits,
            probe=lambda number: loop.probe(number),
            run=self._run_closure,
        )
        loop = ProgressLoop(
            state,
            self.changed,
            self.root,
            frames.on_frame,
            self.peers,
            connector,
            self.dropped_ends,
            self.waits,
        )
        if lazy is not None:
            lazy.started = self._mpi_started_late
        elif not guest:
            self._mpi_started()
        for frame in early:
            frames.on_frame(frame)
        mapped_file.keep_spare()
        with self.lock:
            self.peers.map_rings()
            for linked in self.exits.linked:
                self.exits.watch(Pid(linked))
        self._progress_thread = self.state.progress_thread
        # Before a signal handler runs in this thread, which may take long.
        self.before_handlers = (self.peers.wake_readers, state.socket_waits.interrupted)
        loop.start()

    def _mpi_started(self) -> None:
        if mpi.vendor() == "mpich":
            leftovers.unlink_own_segments()
        mpi.on_finalize(self.close)

    def _mpi_started_late(self, ends: bool) -> None:
        self.owns_mpi = ends
        self._mpi_started()

    def _take_up(self, welcome: process_root.Welcome) -> None:
        self.pid = Pid(welcome.pid)
        self.parent = None if welcome.parent == NO_PID else Pid(welcome.parent)
        self.rank = welcome.rank
        self.world = [Pid(value) for value in welcome.world]
        self.resources = Resources.of_units(welcome.cpu_units, welcome.memory_bytes)
        self.cores, self.nice, self.deadline_s = welcome.cores, welcome.nice, welcome.deadline_s
        self.closure: process_root.Closure | None = None

    def _run_closure(self, frame: process_root.Closure) -> None:
        self.closure = frame

    @property
    def owner(self) -> int:
        """The operating system's pid of this process: a process forked from it is not the node."""
        return self.state.owner

    # -- the end -----------------------------------------------------------------------------

    @property
    def failed(self) -> bool:
        """Whether this process is ending because of an error: peers learn that, instead of an orderly
        close."""
        return self.state.failed

    @failed.setter
    def failed(self, failed: bool) -> None:
        self.state.failed = failed

    def failed_by(self, error: BaseException) -> None:
        """This process is about to end because of an exception."""
        self.state.failed = True
        for frame in last_words.of(error):
            self.root.tell(frame)

    def close(self) -> None:
        """Leave the job; see `Goodbye.say`."""
        self._goodbye.say()

    def forget_job(self) -> None:
        """This guest has left and goes on: release what would otherwise be kept until the process ends."""
        self.root.close()
        self.state.close()
        signal_guard.release(self.lock)

    def _lose_job(self) -> None:
        """The root has ended, or has sent this guest away: the process goes on without the job."""
        if threading.current_thread() is not self._progress_thread:
            return  # the progress thread will notice, too
        status = ExitStatus(RAISED, 0, "the job has ended, or has sent this process away")
        with self.lock:
            self.exits.lose_all(status)
            for peer in self.peers:
                if peer.status is None:
                    peer.exited(status)
            self.state.farewell = True
            self.root.lose()

    @property
    def left(self) -> bool:
        """Whether this process has left the job."""
        return self.state.closed

    @property
    def lost(self) -> bool:
        """Whether this is a guest whose job has ended or has sent it away."""
        return self.root.lost

    def refuse(self, error: Callable[[], Exception]) -> None:
        """From now on, every call that needs this node raises this error."""
        self.lock.refuse(error)
        self.root.refuse(error)

    def forked(self) -> None:
        """This process was forked from the node's: it has no part in the job."""
        self.refuse(forked)
        self.state.socket_waits.forked()
        for peer in self.peers:
            peer.connection.socket_inbox.forked()


def _end_with_monitor() -> None:
    """The monitor has ended, and with it everything that this process could report or be told."""
    try:
        print("cmpi: the monitor of this process has gone; so must it", file=sys.stderr, flush=True)
    except OSError:
        pass  # the monitor also read this output
    os._exit(137)
