"""Finds TCP ports that are not in use."""

from __future__ import annotations

import _socket
import os

# Below the range from which the kernel assigns ports to connections (`net.ipv4.ip_local_port_range`), so
# that only another server could take one before it is used.
FIRST, N = 20_000, 12_000
TRIES = 100


def find() -> int:
    """Return a port that is free, as is the next one; 0 if none was found.

    Blocks: never.
    """
    for _ in range(TRIES):
        port = FIRST + int.from_bytes(os.urandom(4), "little") % N
        if _is_free(port) and _is_free(port + 1):
            return port
    return 0


def _is_free(port: int) -> bool:
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        sock.bind(("", port))
    except OSError:
        return False
    finally:
        sock.close()
    return True
