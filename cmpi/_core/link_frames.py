"""The frames that two processes exchange over their link, by MPI."""

from __future__ import annotations

from cmpi._core.wire import decode, frame


@frame(80, "I")
class Identify:
    """First on a link that was connected: who connected."""

    pid: int


@frame(81, "IsssQI")
class Open:
    """A sender was opened; `channel` is its number from now on, the rest its type and its window."""

    channel: int
    name: str
    contract: str
    site: str
    window_bytes: int
    window_messages: int


@frame(82, "ILBy")
class Data:
    """A message. `sizes` are the bytes of the buffers that follow as messages of their own;
    the pickle is `body`, or the first of them."""

    channel: int
    sizes: list[int]
    inline: int
    body: bytes


@frame(83, "IQI")
class Credit:
    """The reader has taken so many bytes and messages."""

    channel: int
    nbytes: int
    messages: int


@frame(84, "I")
class Fin:
    """Nothing follows on this channel."""

    channel: int


@frame(85, "I")
class Dropped:
    """The reader has closed this channel."""

    channel: int


@frame(86, "Iss")
class Mismatch:
    """The reader's type is another."""

    channel: int
    contract: str
    site: str


@frame(87, "")
class Bye:
    """Nothing follows over this link: the last frame of each side, said by one that is about to end
    and answered by the other. With both said nothing is under way, and the link can be freed."""


def buffer_sizes(head: bytes) -> list[int]:
    """Bytes of the buffers that follow this frame, each as a message of its own."""
    frame = decode(head)
    return frame.sizes if isinstance(frame, Data) else []
