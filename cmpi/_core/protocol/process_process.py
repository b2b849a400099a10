"""Frames that two processes exchange: through shared memory, by MPI or by a socket."""

from __future__ import annotations

from cmpi._core.protocol.wire import U32, U64, frame, registry

RESERVED = "\0"  # how names of channels begin that no user can give
RESULT_CHANNEL = f"{RESERVED}result"  # what a function has returned
CLOSURE_CHANNEL = f"{RESERVED}closure"  # a closure that does not fit into a request


@frame
class Open:
    """A sender was opened; `channel` is its number from now on, the rest its type and its window."""

    channel: U32
    name: str
    contract: str
    site: str
    window_bytes: U64
    window_messages: U32


@frame
class Data:
    """A message: a pickle or an array's header in `body`, or if that is empty in the first buffer.

    `sizes` are the bytes of the buffers. `places`, if not empty, has three numbers for each: the
    segment, the slot and the offset at which it lies; a segment of 0 stands for a buffer that
    follows this frame, as all do if there are no places.
    """

    channel: U32
    sizes: list[U64]
    places: list[U64]
    body: bytes


@frame
class Credit:
    """The reader has taken so many bytes and messages."""

    channel: U32
    nbytes: U64
    messages: U32


@frame
class AskCredit:
    """A message waits for credit."""

    channel: U32


@frame
class Fin:
    """Nothing follows on this channel."""

    channel: U32


@frame
class ReceiverClosed:
    """The reader has closed this channel."""

    channel: U32


@frame
class Abort:
    """An exception made the sender give this channel up; nothing follows on it."""

    channel: U32
    cause: str


@frame
class ReceiverAborted:
    """An exception made the reader give this channel up."""

    channel: U32
    cause: str


@frame
class Mismatch:
    """The reader's type is another."""

    channel: U32
    contract: str
    site: str


@frame
class Bye:
    """Nothing follows over this connection: the last frame of each side, sent by one that is about to end
    and answered by the other. Once both have sent it nothing is under way, and the connection can be
    freed. `failed` says that the sender of this frame is about to end because of an exception."""

    failed: bool


@frame
class Offer:
    """There is a segment of this number, counted from 1, in the job's folder, for payloads to you."""

    number: U32


@frame
class OfferAnswer:
    """Whether I have mapped what you offered."""

    number: U32
    mapped: bool


TO_PEER = registry(
    {
        81: Open,
        82: Data,
        83: Credit,
        84: Fin,
        85: ReceiverClosed,
        86: Mismatch,
        87: Bye,
        88: AskCredit,
        89: Offer,
        90: OfferAnswer,
        94: Abort,
        95: ReceiverAborted,
    }
)
