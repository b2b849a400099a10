"""Puts together the frames that arrive by a transport and the buffers that follow them."""

from __future__ import annotations

from collections import deque

from cmpi._core.protocol import process_process
from cmpi._core.protocol.wire import decode
from cmpi._runtime.process.fragments import LONG
from cmpi._runtime.process.shared_payloads import following
from cmpi._transport.socket_transport import SocketTransport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from cmpi._transport.mpi import MpiParts, MpiTransport
    from cmpi._transport.socket_transport import SocketParts


class TransportReader:
    """Reads frames in order. Guarded by the node's lock; never blocks.

    Args:
        deliver: Called with each frame, and its buffers once they are complete.
        on_small: Called with each message that is a single pickle, after the number of its channel.
    """

    def __init__(
        self, deliver: Callable[[Any, Sequence[Any]], None], on_small: Callable[[int, bytes], bool]
    ) -> None:
        self._deliver, self._on_small = deliver, on_small
        # Frames that have arrived, and wait for their buffers or for earlier frames.
        self._held: deque[tuple[Any, MpiParts | SocketParts | None]] = deque()

    @property
    def waiting(self) -> bool:
        """True if a frame has arrived whose buffers have not."""
        return bool(self._held)

    def read(self, transport: MpiTransport | SocketTransport) -> bool:
        """Deliver what is complete; True if anything has arrived.

        Raises:
            TransportBroken: The connection has ended. What was complete before is delivered.
        """
        moved = False
        try:
            moved = self._receive(transport)
        finally:
            moved |= self._deliver_held()
        return moved

    def _receive(self, transport: MpiTransport | SocketTransport) -> bool:
        moved = False
        while (head := transport.receive()) is not None:
            moved = True
            if isinstance(transport, SocketTransport) and transport.tag < LONG:
                if not self._held:
                    self._on_small(transport.tag, head)
                else:
                    self._held.append((process_process.Data(transport.tag, [], [], head), None))
                continue
            frame = decode(head, process_process.TO_PEER)
            sizes = following(frame)
            parts = transport.expect(sizes) if sizes else None
            if parts is None and not self._held:
                self._deliver(frame, ())
            else:
                self._held.append((frame, parts))
        return moved

    def _deliver_held(self) -> bool:
        moved = False
        while self._held and (self._held[0][1] is None or self._held[0][1].ready()):
            frame, parts = self._held.popleft()
            moved = True
            self._deliver(frame, () if parts is None else parts.buffers)
        return moved
