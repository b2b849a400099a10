"""Frames between a guest's gateway and the relay on the machine of its job, over the relay's stdin and
stdout.

Each connection is a numbered channel. The side that opens it chooses the number: odd for the gateway, even
for the relay. Channel 0 is the guest's connection with the root.
"""

from __future__ import annotations

from cmpi._core.protocol.launcher_agent import Beat, Piece, Shut
from cmpi._core.protocol.wire import U16, U32, frame, registry

ROOT = 0
LEAVE_S = 60.0  # how long peers may take to read what a guest has sent before it left

# -- gateway -> relay -------------------------------------------------------------------


@frame
class JoinThere:
    """Open channel 0 to the root of this job."""

    job: str


@frame
class DialThere:
    """Open this channel to an address as in `Dial`."""

    channel: U32
    address: str
    port: U16


@frame
class ListenThere:
    """Listen at an address as in `ListenFor`, until Shut comes for this number."""

    number: U32
    address: str


# -- relay -> gateway -------------------------------------------------------------------


@frame
class Joined:
    """The answer to JoinThere: "", or why it is impossible."""

    fault: str


@frame
class ListensThere:
    """The answer to ListenThere: the port, as in `Listening`."""

    number: U32
    port: U16


@frame
class CameThere:
    """Somebody has connected to what listens under this number: a new channel."""

    number: U32
    channel: U32


TO_RELAY = registry({104: Piece, 105: Shut, 154: JoinThere, 155: DialThere, 156: ListenThere})
TO_GATEWAY = registry({104: Piece, 105: Shut, 108: Beat, 157: Joined, 158: ListensThere, 159: CameThere})
