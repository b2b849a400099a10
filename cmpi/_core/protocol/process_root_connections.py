"""Frames between a process and the root about connections between processes. Part of `process_root`."""

from __future__ import annotations

from cmpi._core.protocol.wire import U16, U32, frame, registry

# -- process -> root --------------------------------------------------------------------


@frame
class Connect:
    """I have something for this process: arrange a connection."""

    peer: U32


@frame
class ConnectionUp:
    """My half of this connection stands."""

    peer: U32


@frame
class ConnectionFailed:
    """I have given up this connection."""

    peer: U32


@frame
class Listening:
    """The answer to ListenFor: at this port."""

    peer: U32
    port: U16


@frame
class Leaving:
    """Order no more connections with me; I am about to end."""


# -- root -> process --------------------------------------------------------------------


@frame
class GroupWith:
    """Take part in a connection: make a communicator of you two out of your common world."""

    peer: U32
    rank: U32


@frame
class ListenFor:
    """Take part in a connection: listen at this address, for one that knows this key."""

    peer: U32
    address: str
    key: bytes


@frame
class Dial:
    """Take part in a connection: connect to this address and port, with this key."""

    peer: U32
    address: str
    port: U16
    key: bytes


@frame
class Abandon:
    """Give up the half-made connection with this process."""

    peer: U32


@frame
class Farewell:
    """The answer to Leaving: no order of a connection follows this."""


TO_ROOT = registry({37: Connect, 38: ConnectionUp, 40: Leaving, 42: ConnectionFailed, 122: Listening})
TO_PROCESS = registry({57: GroupWith, 58: Abandon, 65: Farewell, 121: ListenFor, 123: Dial})
