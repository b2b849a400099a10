"""A condition that changes because of what comes by connections. Not compiled, as `condition`."""

from __future__ import annotations

from cmpi._runtime.process.condition import ChannelCondition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final

    from cmpi._runtime.process.connection import Connection
    from cmpi._runtime.process.socket_waits import SocketWaits

MOST_SOCKETS: Final = 16  # that a waiting thread claims; to claim more takes longer than to be woken


class ConnectionCondition(ChannelCondition):
    """A thread that waits for it reads the sockets itself, as far as no other thread does.

    Args:
        lock: The condition's, which is the node's.
        waits: Of this process.
        connections: By which something may come.
    """

    def __init__(
        self, lock: Any, waits: SocketWaits, connections: Callable[[], Iterable[Connection]]
    ) -> None:
        super().__init__(lock, self._rest)
        self._socket_waits, self._connections = waits, connections

    def _rest(self) -> None:
        for connection in self._connections():
            connection.rest()

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """As in `threading`."""
        connections = list(self._connections())
        inboxes = [it.socket_inbox for it in connections if it.socket_inbox.usable]
        if not inboxes or len(inboxes) > MOST_SOCKETS:
            return super().wait_for(predicate, timeout)
        for connection in connections:
            connection.ring_inbox.rest()
        return self._socket_waits.wait_for(inboxes, self, predicate, timeout)
