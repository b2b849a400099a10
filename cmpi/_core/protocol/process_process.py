"""Frames between two processes: through shared memory, MPI or a socket."""

from __future__ import annotations

from cmpi._core.protocol.wire import U32, U64, frame, registry

RESERVED = "\0"  # the beginning of channel names that users cannot choose
RESULT_CHANNEL = f"{RESERVED}result"  # for the return value of a function
CLOSURE_CHANNEL = f"{RESERVED}closure"  # for a closure that does not fit into a request


@frame
class Open:
    """A sender was opened. `channel` is its number from now on; the other fields are its type and the
    window that it would like (see `windows`)."""

    channel: U32
    name: str
    contract: str
    site: str
    window_bytes: U64
    window_messages: U32


@frame
class Data:
    """A message: a pickle or an array's header in `body`, or in the first buffer if `body` is empty.

    `sizes` has the length of each buffer. `places`, if not empty, has three numbers for each: its segment,
    slot and offset; a segment of 0 means that the buffer follows this frame, as all do if `places` is
    empty.
    """

    channel: U32
    sizes: list[U64]
    places: list[U64]
    body: bytes


@frame
class Credit:
    """The receiver has taken this many bytes and messages."""

    channel: U32
    nbytes: U64
    messages: U32


@frame
class WindowWidened:
    """The channel's window is now so large."""

    channel: U32
    nbytes: U64


@frame
class AskCredit:
    """A message waits for credit."""

    channel: U32


@frame
class Fin:
    """The sender has closed this channel."""

    channel: U32


@frame
class ReceiverClosed:
    """The receiver has closed this channel."""

    channel: U32


@frame
class SenderAborted:
    """An exception in the sender aborted this channel; nothing follows on it."""

    channel: U32
    cause: str


@frame
class ReceiverAborted:
    """An exception in the receiver aborted this channel."""

    channel: U32
    cause: str


@frame
class Mismatch:
    """The receiver's type differs."""

    channel: U32
    contract: str
    site: str


@frame
class Bye:
    """The last frame of each side of a connection. A process that is about to end sends it, and the other
    answers with it. Once both have sent it, nothing is in flight, and the connection can be freed. `failed`
    says that the sender of this frame is about to end because of an exception."""

    failed: bool


@frame
class Offer:
    """The sender has created the segment of this number (from 1) in the job's folder, for payloads to the
    receiver of this frame."""

    number: U32


@frame
class OfferAnswer:
    """The answer: whether the process has mapped the offered segment."""

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
        94: SenderAborted,
        95: ReceiverAborted,
        96: WindowWidened,
    }
)
