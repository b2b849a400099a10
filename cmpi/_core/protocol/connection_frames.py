"""The frames that two processes exchange: over their link by MPI, or through shared memory."""

from __future__ import annotations

from cmpi._core.protocol.wire import frame


@frame(81, "IsssQI")
class Open:
    """A sender was opened; `channel` is its number from now on, the rest its type and its window."""

    channel: int
    name: str
    contract: str
    site: str
    window_bytes: int
    window_messages: int


@frame(82, "ILLy")
class Data:
    """A message: a pickle or an array's header in `body`, or if that is empty in the first buffer.

    `sizes` are the bytes of the buffers. `places`, if not empty, has three numbers for each: the
    segment, the slot and the offset at which it lies; a segment of 0 stands for a buffer that
    follows this frame, as all do if there are no places.
    """

    channel: int
    sizes: list[int]
    places: list[int]
    body: bytes


@frame(83, "IQI")
class Credit:
    """The reader has taken so many bytes and messages."""

    channel: int
    nbytes: int
    messages: int


@frame(88, "I")
class AskCredit:
    """A message waits for credit."""

    channel: int


@frame(84, "I")
class Fin:
    """Nothing follows on this channel."""

    channel: int


@frame(85, "I")
class ReceiverClosed:
    """The reader has closed this channel."""

    channel: int


@frame(94, "Is")
class Abort:
    """An exception made the sender give this channel up; nothing follows on it."""

    channel: int
    cause: str


@frame(95, "Is")
class ReceiverAborted:
    """An exception made the reader give this channel up."""

    channel: int
    cause: str


@frame(86, "Iss")
class Mismatch:
    """The reader's type is another."""

    channel: int
    contract: str
    site: str


@frame(87, "?")
class Bye:
    """Nothing follows over this connection: the last frame of each side, sent by one that is about to end
    and answered by the other. Once both have sent it nothing is under way, and the connection can be
    freed. `failed` says that the sender of this frame is about to end because of an exception."""

    failed: bool


@frame(89, "I")
class Offer:
    """There is a segment of this number, counted from 1, in the job's folder, for payloads to you."""

    number: int


@frame(90, "I?")
class OfferAnswer:
    """Whether I have mapped what you offered."""

    number: int
    mapped: bool
