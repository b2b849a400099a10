"""The bell by which fabric agents wake each other: datagrams that say how many messages were sent.

They need not be trusted, nor arrive: a ring only makes an agent look for messages, which it does anyway a
few milliseconds later.
"""

from __future__ import annotations

import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_RING = struct.Struct("<IQ")  # the ringing agent's rank, and how many messages it has sent
MOST = 256  # rings heard at a time


class Bell:
    """One agent's. `know` tells it of the others. Blocks: never."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("", 0))
        self._sock.setblocking(False)
        self._rank = 0
        self._addresses: dict[str, tuple[str, int]] = {}
        self._hosts: list[str] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._sock.getsockname()[1])

    def know(self, rank: int, others: list[tuple[str, str, int]]) -> None:
        """Our rank, and name, address and port of every agent, by rank."""
        self._rank, self._hosts = rank, [name for name, _, _ in others]
        for name, address, port in others:
            try:
                self._addresses[name] = (socket.gethostbyname(address), port)
            except OSError:
                pass  # it is not rung for, and looks by itself

    def fileno(self) -> int:
        """The descriptor, for epoll."""
        return self._sock.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._sock.close()

    def ring(self, host: str, messages: int) -> None:
        """Ring for the agent of a host, to which so many messages were sent in all."""
        if host in self._addresses:
            try:
                self._sock.sendto(_RING.pack(self._rank, messages), self._addresses[host])
            except OSError:
                pass  # lost, as any datagram may be

    def rings(self) -> Iterator[tuple[str, int]]:
        """The rings that have come: from which host, and how many messages it has sent."""
        for _ in range(MOST):
            try:
                data = self._sock.recv(64)
            except OSError:
                return
            if len(data) == _RING.size:
                rank, messages = _RING.unpack(data)
                if rank < len(self._hosts):
                    yield self._hosts[rank], messages
