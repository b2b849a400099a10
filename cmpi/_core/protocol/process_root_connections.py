"""Frames between a process and the root about connections between processes. Part of `process_root`."""

from __future__ import annotations

from cmpi._core.protocol.wire import U16, U32, frame, registry

# -- process -> root --------------------------------------------------------------------


@frame
class Connect:
    """Asks the root to arrange a connection with this process."""

    peer: U32


@frame
class ConnectionUp:
    """The sender's half of this connection is up."""

    peer: U32


@frame
class ConnectionFailed:
    """The sender has abandoned this connection."""

    peer: U32


@frame
class ConnectionDropped:
    """The socket of this connection has dropped: the sender's half waits for another."""

    peer: U32


@frame
class Listening:
    """The answer to ListenFor: the sender listens at this port."""

    peer: U32
    port: U16


@frame
class Leaving:
    """The sender is about to end: arrange no more connections with it."""


# -- root -> process --------------------------------------------------------------------


@frame
class GroupWith:
    """Take part in a connection: create a communicator for the two processes from their common world."""

    peer: U32
    rank: U32


@frame
class ListenFor:
    """Take part in a connection: listen at this address, for a process that knows this key."""

    peer: U32
    address: str
    key: bytes
    carried: bool  # fabric agents carry the connection


@frame
class DialThrough:
    """Take part in a connection: have the fabric agent that listens at this path, for processes that know
    `agent_key`, carry it to this process on that host; there prove to know `key`."""

    peer: U32
    host: str
    path: str
    agent_key: bytes
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
    """Abandon the unfinished connection with this process."""

    peer: U32


@frame
class ConnectionOver:
    """The dropped connection with this process will not be made again: it is about to end and has received
    everything (the reason is ""), or it cannot be reached."""

    peer: U32
    reason: str


@frame
class Farewell:
    """The answer to Leaving: no request for a connection follows."""


TO_ROOT = registry(
    {
        37: Connect,
        38: ConnectionUp,
        40: Leaving,
        42: ConnectionFailed,
        122: Listening,
        166: ConnectionDropped,
    }
)
TO_PROCESS = registry(
    {
        57: GroupWith,
        58: Abandon,
        65: Farewell,
        121: ListenFor,
        123: Dial,
        167: ConnectionOver,
        183: DialThrough,
    }
)
