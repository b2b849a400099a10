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
NAPS = 20_000  # so many of them, a second and more; after that the peer is stopped, or very slow:
LONG_NAP_S = 1e-3
WATCH_S = 1e-3  # between looks into a ring that need not be rung for, or at a socket that wakes nobody
BLOCKED_S = 1.0  # of doing nothing but wait, before the root is told
LOOK_AROUND_S = 2.0  # a sleeper looks by itself, should a ring ever be lost


class ProgressLoop:
    """The thread.

    Args:
        state: Of this process.
        changed: Is notified, while the process says goodbye, of all that moves.
        root: The connection with the root.
        hear: Called with each frame of the root's.
        peers: The other processes.
        connector: May be stuck in MPI.
        dropped_ends: Are closed here.
        waits: What other threads wait for.
    """

    def __init__(
        self,
        state: NodeState,
        changed: ChannelCondition,
        root: RootConnection,
        hear: Callable[[Any], None],
        peers: Peers,
        connector: Connector,
        dropped_ends: DroppedEnds,
        waits: WaitRegistry,
    ) -> None:
        self._state, self._changed, self._root, self._hear = state, changed, root, hear
        self._peers, self._connector, self._dropped_ends, self._waits = (
            peers,
            connector,
            dropped_ends,
            waits,
        )
        self._said_blocked = 0  # the epoch of the wait of which the root was told; 0: of none
        self._probe = 0  # what the root has asked, and is to be answered after looking around
        self._thread = state.progress_thread = vital_thread(self._run, "cmpi-progress")

    def start(self) -> None:
        """Begin to move frames."""
        self._thread.start()

    def probe(self, number: int) -> None:
        """The root asks whether this process is still blocked. In the progress thread.

        Nobody is woken for it: one that is would not sleep.
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
                    self._hear(frame)
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
                    self._changed.notify_all()  # a connection is up, credit has come, all is sent
            idle = 0 if moved or ready else idle + 1

    def _pause_s(self, idle: int) -> float:
        """How long to poll, after so many rounds without news; have poll watch what there is to watch."""
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
        """Tell the root that this process does nothing but wait; or no more; or what it has asked."""
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
