"""Finding TCP ports that nobody uses."""

from __future__ import annotations

import _socket
import os

# Below those that the kernel gives to connections by itself (`net.ipv4.ip_local_port_range`), so that only
# another server could take one between now and its use.
FIRST, N = 20_000, 12_000
TRIES = 100


def find() -> int:
    """A port that is free, as is the next one; 0 if none was found.

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
