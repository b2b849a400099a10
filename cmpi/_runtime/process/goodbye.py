"""Leaves the job: delivers everything that this process has sent, and tells its peers."""

from __future__ import annotations

import os
import threading

from cmpi._core.protocol.process_root_connections import Leaving
from cmpi._runtime.process.node_lock import left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._runtime.process.condition import ChannelCondition
    from cmpi._runtime.process.connector import Connector
    from cmpi._runtime.process.inlets import Inlets
    from cmpi._runtime.process.node_state import NodeState
    from cmpi._runtime.process.peers import Peers
    from cmpi._runtime.process.root_connection import RootConnection

LOOK_AROUND_S = 2.0  # between checks whether all peers have parted, in case a notification is lost


class Goodbye:
    """Ends this process's part in the job; `say` is called at exit, or by MPI_Finalize if that comes
    first."""

    def __init__(
        self,
        state: NodeState,
        changed: ChannelCondition,
        root: RootConnection,
        peers: Peers,
        connector: Connector,
        inlets: Inlets,
    ) -> None:
        self._state, self._changed, self._root = state, changed, root
        self._peers, self._connector, self._inlets = peers, connector, inlets

    def say(self) -> None:
        """Deliver everything that was sent, say goodbye to the peers, and leave the job. A second call does
        nothing.

        Blocks: until everything is delivered.
        """
        state = self._state
        if state.closed or os.getpid() != state.owner:
            return
        with state.lock:
            if not state.failed:
                state.failed = not state.aborts.post_all()
            if not state.failed:
                self._inlets.settle()
                for peer in self._peers:
                    peer.close_ends()
            self._part()
        self._root.tell(Leaving())
        with state.lock:
            self._changed.wait_for(lambda: state.farewell)
        self._connector.wait_idle()
        with state.lock:
            self._part()
            state.closed = True
        state.nudge()
        thread = state.progress_thread
        if thread is not None and threading.current_thread() is not thread:
            thread.join()
        for peer in self._peers:
            peer.connection.free()
        state.doorbell.close()
        state.lock.refuse(left)
        self._root.refuse(left)

    def _part(self) -> None:
        """Say goodbye to each peer once nothing is left for it, until all have parted."""
        self._state.parting = True
        while True:
            for peer in self._peers:
                peer.say_bye()
            if all(peer.parted for peer in self._peers):
                return
            self._changed.wait(LOOK_AROUND_S)
