"""The progress thread: moves frames when no other thread waits for them, and serves the root's frames.

It sleeps in epoll on the control connection, the doorbell, a pipe to nudge it, and the sockets that no
waiting thread has claimed (see `socket_inbox`). It polls actively no longer than a frame takes to arrive
after its ring.
"""

from __future__ import annotations

import os
import select
import time

from cmpi._core.protocol.process_root_waits import Blocked, StillBlocked
from cmpi._runtime.process.vital_thread import vital_thread
from cmpi._runtime.process.wait_registry import in_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._runtime.process.condition import ChannelCondition
    from cmpi._runtime.process.connector import Connector
    from cmpi._runtime.process.dropped_ends import DroppedEnds
    from cmpi._runtime.process.node_state import NodeState
    from cmpi._runtime.process.peers import Peers
    from cmpi._runtime.process.root_connection import RootConnection
    from cmpi._runtime.process.wait_registry import WaitRegistry

SPINS = 200  # rounds without news before the thread sleeps between them
NAP_S = 50e-6  # such a sleep: MPI moves half a megabyte at most in a round
NAPS = 20_000  # this many of them, over a second; then longer ones: the peer is stopped, or very slow
LONG_NAP_S = 1e-3
WATCH_S = 1e-3  # between looks at a ring whose writer need not ring, or at a socket that wakes nobody
BLOCKED_S = 1.0  # of doing nothing but wait, before the root is told
LOOK_AROUND_S = 2.0  # a sleeper looks by itself, should a ring ever be lost


class ProgressLoop:
    """The progress thread.

    Args:
        state: The state of this process.
        changed: Notified of everything that moves while the process says goodbye.
        root: The connection to the root.
        on_frame: Called with each frame from the root.
        peers: The other processes.
        connector: It may be stuck in MPI.
        dropped_ends: The dropped channel ends, which are closed here.
        waits: The waits of other threads.
    """

    def __init__(
        self,
        state: NodeState,
        changed: ChannelCondition,
        root: RootConnection,
        on_frame: Callable[[Any], None],
        peers: Peers,
        connector: Connector,
        dropped_ends: DroppedEnds,
        waits: WaitRegistry,
    ) -> None:
        self._state, self._changed, self._root, self._on_frame = state, changed, root, on_frame
        self._peers, self._connector, self._dropped_ends, self._waits = (
            peers,
            connector,
            dropped_ends,
            waits,
        )
        self._said_blocked = 0  # the epoch of the wait that the root was told about; 0: none
        self._probe = 0  # the number of the root's question, to be answered after a look around
        self._thread = state.progress_thread = vital_thread(self._run, "cmpi-progress")

    def start(self) -> None:
        """Begin to move frames."""
        self._thread.start()

    def probe(self, number: int) -> None:
        """The root asks whether this process is still blocked. Called in the progress thread.

        No wake-up is needed: the progress thread is awake.
        """
        self._probe = number

    def _run(self) -> None:
        state, doorbell = self._state, self._state.doorbell
        poll = state.sockets
        for source in (self._root, doorbell, state.wake_read):
            poll.register(source, select.EPOLLIN)
        idle = 0
        while not state.closed:
            pause_s = self._pause_s(idle)
            ready = {fd for fd, _ in poll.poll(pause_s)}
            self._connector.end_if_stuck()
            if self._root.fileno() in ready:
                for frame in self._root.receive():
                    self._on_frame(frame)
                if self._root.lost:
                    poll.unregister(self._root)
            with state.lock:
                if state.wake_read in ready:
                    os.read(state.wake_read, 4096)
                if doorbell.fileno() in ready:
                    self._peers.rung()
                if not ready and pause_s >= LOOK_AROUND_S:
                    self._peers.map_rings()
                self._dropped_ends.close()
                if not state.failed:
                    state.aborts.post_due()
                moved = self._peers.progress()
                self._say_whether_blocked()
                if state.parting and (moved or ready):
                    self._changed.notify_all()  # connected, credit has come, or everything is sent
            idle = 0 if moved or ready else idle + 1

    def _pause_s(self, idle: int) -> float:
        """How long to poll, after this many rounds without news; also has poll watch the sockets that need
        it."""
        with self._state.lock:
            self._peers.watch_sockets()
            peers = list(self._peers)
            restless = any(peer.restless for peer in peers)
            watched = any(peer.connection.watched for peer in peers)
            held_s = self._state.aborts.pause_s
        if not restless:
            pause_s = WATCH_S if watched else LOOK_AROUND_S
            return pause_s if held_s is None else min(pause_s, held_s)
        if idle > SPINS:
            time.sleep(NAP_S if idle < SPINS + NAPS else LONG_NAP_S)
        return 0

    def _say_whether_blocked(self) -> None:
        """Tell the root if this process has begun or ceased to do nothing but wait, and answer its
        question."""
        probe, self._probe = self._probe, 0
        stuck = self._waits.stuck(BLOCKED_S)
        epoch = self._waits.epoch if stuck and not any(p.under_way for p in self._peers) else 0
        if probe:
            sent = sum(peer.connection.put_in for peer in self._peers)
            received = sum(peer.connection.taken_out for peer in self._peers)
            self._root.tell(StillBlocked(probe, epoch, sent, received))
        if epoch != self._said_blocked:
            self._said_blocked = epoch
            self._root.tell(Blocked(epoch, in_words(stuck)))
