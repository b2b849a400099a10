"""A condition whose changes are caused by input from connections. Not compiled, like `condition`."""

from __future__ import annotations

from cmpi._runtime.process.condition import ChannelCondition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final

    from cmpi._runtime.process.connection import Connection
    from cmpi._runtime.process.socket_waits import SocketWaits

MOST_SOCKETS: Final = 16  # claimed by a waiting thread; claiming more takes longer than being woken


class ConnectionCondition(ChannelCondition):
    """A condition whose waiting threads read the sockets themselves, unless another thread does.

    Args:
        lock: The condition's lock, which is the node's.
        waits: The socket waits of this process.
        connections: Returns the connections whose input may change it.
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
