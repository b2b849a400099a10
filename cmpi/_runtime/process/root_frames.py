"""Hands the root's frames to their handlers in this process."""

from __future__ import annotations

from cmpi._core.protocol import process_root
from cmpi._core.protocol.process_root_connections import (
    Abandon,
    ConnectionOver,
    Dial,
    DialThrough,
    Farewell,
    GroupWith,
    ListenFor,
)
from cmpi._core.protocol.process_root_links import LinkedBy, NameIs
from cmpi._core.protocol.process_root_waits import AskBlocked, AskStacks, Stacks
from cmpi._core.protocol.wire import handler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._runtime.process.condition import ChannelCondition
    from cmpi._runtime.process.connector import Connector
    from cmpi._runtime.process.exits import Exits
    from cmpi._runtime.process.node_state import NodeState
    from cmpi._runtime.process.peers import Peers
    from cmpi._runtime.process.root_connection import RootConnection
    from cmpi._runtime.process.wait_registry import WaitRegistry


class RootFrames:
    """Hands each frame to its handler. Used by one thread.

    Args:
        state: The state of this process.
        changed: Notified of events that other threads may wait for.
        root: The connection to the root.
        exits: What the root has told about other processes.
        peers: The other processes.
        connector: It carries out the root's orders to connect.
        waits: The waits of this process's threads.
        probe: Called with the number of the root's question whether this process is still blocked.
        run: Called with a closure that this process is to run.
    """

    def __init__(
        self,
        state: NodeState,
        changed: ChannelCondition,
        root: RootConnection,
        exits: Exits,
        peers: Peers,
        connector: Connector,
        waits: WaitRegistry,
        probe: Callable[[int], None],
        run: Callable[[process_root.Closure], None],
    ) -> None:
        self._state, self._changed, self._exits, self._peers = state, changed, exits, peers
        self._alone: dict[
            type, Callable[[Any], None]
        ] = {  # handled without the lock; no other thread waits for them
            GroupWith: connector.order,
            ListenFor: connector.order,
            Dial: connector.order,
            DialThrough: connector.order,
            Abandon: lambda frame: connector.abandon(frame.peer),
            AskBlocked: lambda frame: probe(frame.number),
            AskStacks: lambda _: root.tell(Stacks(waits.stacks())),
        }
        self._shared: dict[type, Callable[[Any], None]] = {
            process_root.Ended: self._ended,
            process_root.Alive: self._alive,
            process_root.Spawned: root.answered,
            process_root.Refused: root.answered,
            process_root.CapacityIs: root.answered,
            process_root.FailuresAre: root.answered,
            process_root.Closure: run,
            NameIs: root.answered,
            LinkedBy: lambda frame: exits.tied(frame.pid, frame.on),
            Farewell: self._farewell,
            ConnectionOver: lambda frame: peers.parted(frame.peer, frame.reason),
        }

    @property
    def heard(self) -> set[type]:
        """The frames that the root may send after its welcome."""
        return {*self._alone, *self._shared}

    def on_frame(self, frame: Any) -> None:
        """Handle a frame. Raises: ProtocolError."""
        alone = self._alone.get(type(frame))
        if alone is not None:
            alone(frame)
            return
        handle = handler(self._shared, frame)
        with self._state.lock:
            handle(frame)
            self._changed.notify_all()

    def _ended(self, frame: process_root.Ended) -> None:
        self._peers.exited(frame.pid, self._exits.came_to_end(frame))

    def _alive(self, frame: process_root.Alive) -> None:
        self._exits.came_alive(frame)
        self._peers.learn(frame.pid)

    def _farewell(self, _: Farewell) -> None:
        self._state.farewell = True
