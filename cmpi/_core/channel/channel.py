"""A channel: its sending half and its receiving half, as two state machines.

Credit bounds the data in flight: the sender may have at most `WINDOW_BYTES` and `WINDOW_MESSAGES` sent but
not yet taken by the receiver; a message larger than the window is sent when nothing else is in flight. So
the receiver's memory is bounded by the window or by one message, and every message can be sent eventually.
Credit is returned as the receiver takes messages, in batches of a quarter of the window. A waiting sender
asks for the rest of the credit, and gets it as soon as the inbox is empty; otherwise a sender that needs
the whole window would wait for ever. A sender that does not wait gets no such frame, because a frame for
each message would double the work of a ping-pong.

    sending half     open ──Close──▶ closed (Fin follows the last message)
                     open ──Abort──▶ closed (the abort follows the last message that was sent)
                     open ──ReaderClosed──▶ dropped    open ──ReaderAborted──▶ failed
                     open ──Gone──▶ gone
    receiving half   open ──FinArrived──▶ ended        open ──AbortArrived──▶ failed
                     open ──Gone──▶ gone               open ──Close or Abort──▶ closed

The receiving half reads everything that has arrived before it sees the end. An end that its owner aborts,
because an exception made it give up, never looks like one that was closed: the other half fails with the
cause.

Events are records passed to `handle`, except the three that occur for every message: `admit`, `arrived` and
`take` are methods, because creating a record would double their cost.
"""

from __future__ import annotations

from collections import deque

from cmpi._base.frozen import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

WINDOW_BYTES = 32 << 20
WINDOW_MESSAGES = 1024
UNBOUNDED_BYTES = 1 << 62  # the window of a channel that bounds only the number of messages


def _credit(window_bytes: int, used_bytes: int) -> int | None:
    return None if window_bytes == UNBOUNDED_BYTES else max(0, window_bytes - used_bytes)


@frozen
class Statistics:
    """Counts of what went through one end of a channel so far, and how much more may be sent now.

    Attributes:
        messages: Number of messages sent (by a sender) or read (by a receiver).
        nbytes: Total size of those messages, in pickled bytes.
        credit: Bytes that may be sent before the reader has to read more; None if the sender's
            `capacity` is a number of messages and does not bound the bytes.
        credit_messages: Messages that may be sent before the reader has to read more.
        waiting: Number of messages waiting: for credit (at a sender), or to be read (at a receiver).
        peak: Largest number of bytes that were under way at one time: sent and not known to be read
            (at a sender), or arrived and not read (at a receiver).
        way: The way of the messages: "ring" (shared memory), "mpi" or "socket"; "" if no way has been
            chosen yet.
    """

    messages: int
    nbytes: int
    credit: int | None
    credit_messages: int
    waiting: int
    peak: int
    way: str = ""


# -- events -------------------------------------------------------------------------------


@frozen
class AwaitRoom:
    """The owner waits to send a message of `nbytes`, for which there is no room."""

    nbytes: int


@frozen
class StopWaiting:
    """The owner has stopped waiting."""


@frozen
class Close:
    """The owner closes this half."""


@frozen
class Abort:
    """An exception made the owner abandon this half; `cause` describes it."""

    cause: str


@frozen
class Widened:
    """Event: the receiver has given the channel a larger window."""

    nbytes: int


@frozen
class CreditCame:
    """The reader has taken this much, which returns as credit."""

    nbytes: int
    messages: int


@frozen
class ReaderClosed:
    """The reader closed its half."""


@frozen
class ReaderAborted:
    """An exception made the reader abandon its half."""

    cause: str


@frozen
class Gone:
    """The process at the other end has ended."""


@frozen
class FinArrived:
    """The sender closed its half; this follows its last message."""


@frozen
class AbortArrived:
    """An exception made the sender abandon its half; this follows the last message that it sent."""

    cause: str


@frozen
class CreditAsked:
    """The sender waits for credit."""


# -- actions ------------------------------------------------------------------------------


@frozen
class TransmitFin:
    """Send the end mark now."""


@frozen
class TransmitAbort:
    """Send the mark of an abort now."""

    cause: str


@frozen
class RequestCredit:
    """Tell the reader that a message waits here."""


@frozen
class GiveCredit:
    """Tell the sender how much was taken, and whether this answers its request for credit."""

    nbytes: int
    messages: int
    asked: bool = False


@frozen
class TellDropped:
    """Tell the sender that the receiving half is closed."""


@frozen
class TellAborted:
    """Tell the sender that the receiving half was abandoned, and why."""

    cause: str


if TYPE_CHECKING:
    OutgoingEvent: TypeAlias = (
        "AwaitRoom | StopWaiting | Close | Abort | CreditCame | Widened | ReaderClosed | ReaderAborted | "
        "Gone"
    )
    OutgoingAction: TypeAlias = "TransmitFin | TransmitAbort | RequestCredit"
    IncomingEvent: TypeAlias = "FinArrived | AbortArrived | CreditAsked | Gone | Close | Abort"
    IncomingAction: TypeAlias = "GiveCredit | TellDropped | TellAborted"


class Outgoing:
    """The sending half. Not thread-safe; never blocks."""

    def __init__(self, window_bytes: int = WINDOW_BYTES, window_messages: int = WINDOW_MESSAGES) -> None:
        self.state = "open"
        self.cause = ""  # why the reader aborted, in the state "failed"
        self.window_bytes, self.window_messages = window_bytes, window_messages
        self.sent_bytes = self.sent_messages = self.peak_bytes = 0
        self._read_bytes = self._read_messages = 0  # of what was sent, as reported by credit
        self._awaited: int | None = None  # bytes of the message that waits for room
        self._asked = False  # for credit, since credit last came
        self._widened = False  # by the receiver

    def narrow(self, nbytes: int) -> None:
        """Begin with a smaller window, until the receiver widens it."""
        if not self._widened:
            self.window_bytes = min(self.window_bytes, nbytes)

    @property
    def in_flight_bytes(self) -> int:
        """Bytes sent and not known to be read."""
        return self.sent_bytes - self._read_bytes

    @property
    def in_flight_messages(self) -> int:
        """Number of messages sent and not known to be read."""
        return self.sent_messages - self._read_messages

    @property
    def statistics(self) -> Statistics:
        """Counts of what went through so far."""
        return Statistics(
            messages=self.sent_messages,
            nbytes=self.sent_bytes,
            credit=_credit(self.window_bytes, self.in_flight_bytes),
            credit_messages=max(0, self.window_messages - self.in_flight_messages),
            waiting=0 if self._awaited is None else 1,
            peak=self.peak_bytes,
        )

    def room_for(self, nbytes: int) -> bool:
        """True if a message of this size could be sent now."""
        flying = self.sent_messages - self._read_messages
        return flying == 0 or (
            flying < self.window_messages
            and self.sent_bytes - self._read_bytes + nbytes <= self.window_bytes
        )

    def admit(self, nbytes: int) -> bool:
        """Ask to send a message of this size; True if it may be sent now, and then it is counted as
        sent."""
        if self.state != "open" or not self.room_for(nbytes):
            return False
        self._awaited = None
        self.sent_bytes = sent = self.sent_bytes + nbytes
        self.sent_messages += 1
        in_flight = sent - self._read_bytes
        if in_flight > self.peak_bytes:
            self.peak_bytes = in_flight
        return True

    def handle(self, event: OutgoingEvent) -> list[OutgoingAction]:
        """Handle an event; return the actions to take, in order."""
        if isinstance(event, CreditCame):
            self._asked = False
            self._read_bytes += event.nbytes
            self._read_messages += event.messages
            return self._ask()
        if isinstance(event, Widened):
            self._asked, self._widened = False, True
            self.window_bytes = event.nbytes
            return self._ask()
        if isinstance(event, StopWaiting):
            self._awaited = None
            return []
        if self.state != "open":
            return []
        if isinstance(event, AwaitRoom):
            self._awaited = event.nbytes
            return self._ask()
        self._awaited = None
        if isinstance(event, Close):
            self.state = "closed"
            return [TransmitFin()]
        if isinstance(event, Abort):
            self.state = "closed"
            return [TransmitAbort(event.cause)]
        if isinstance(event, ReaderAborted):
            self.state, self.cause = "failed", event.cause
        else:
            self.state = "dropped" if isinstance(event, ReaderClosed) else "gone"
        return []

    def _ask(self) -> list[OutgoingAction]:
        """Ask for credit if a message waits for it, unless that was done since credit last came."""
        if self._awaited is None or self._asked or self.room_for(self._awaited):
            return []
        self._asked = True
        return [RequestCredit()]


class Incoming:
    """The receiving half. Not thread-safe; never blocks."""

    def __init__(self, window_bytes: int = WINDOW_BYTES, window_messages: int = WINDOW_MESSAGES) -> None:
        self.state = "open"
        self.cause = ""  # why the sender aborted, in the state "failed"
        self.inbox: deque[tuple[Any, int]] = deque()  # messages with their bytes
        self.read_bytes = self.read_messages = self.peak_bytes = 0
        self._arrived_bytes = 0
        self._credited_bytes = self._credited_messages = 0  # of what was read, as much as the sender knows
        self._asked = False  # the sender waits
        self.set_window(window_bytes, window_messages)

    def __len__(self) -> int:
        return len(self.inbox)

    @property
    def unread_bytes(self) -> int:
        """Bytes that have arrived and are unread."""
        return self._arrived_bytes - self.read_bytes

    def set_window(self, nbytes: int, messages: int) -> None:
        """Set the sender's window, which it announces when it opens the channel."""
        self.window_bytes, self.window_messages = nbytes, messages
        self._quarter_bytes, self._quarter_messages = nbytes // 4, messages // 4

    @property
    def statistics(self) -> Statistics:
        """Counts of what went through so far."""
        return Statistics(
            messages=self.read_messages,
            nbytes=self.read_bytes,
            credit=_credit(self.window_bytes, self.unread_bytes),
            credit_messages=max(0, self.window_messages - len(self.inbox)),
            waiting=len(self.inbox),
            peak=self.peak_bytes,
        )

    def arrived(self, message: object, nbytes: int) -> None:
        """Take in a message from the sender, of this size. A message is never None."""
        if self.state == "closed":
            return
        self.inbox.append((message, nbytes))
        self._arrived_bytes = arrived = self._arrived_bytes + nbytes
        if arrived - self.read_bytes > self.peak_bytes:
            self.peak_bytes = arrived - self.read_bytes

    def take(self) -> tuple[Any, bool]:
        """Return the oldest message (None if there is none) for the owner, and whether credit is due
        now."""
        if not self.inbox:
            return None, False
        message, nbytes = self.inbox.popleft()
        self.read_bytes = nbytes = self.read_bytes + nbytes
        self.read_messages = count = self.read_messages + 1
        return message, (
            count - self._credited_messages >= self._quarter_messages
            or nbytes - self._credited_bytes >= self._quarter_bytes
            or (self._asked and not self.inbox)
        )

    def put_back(self, message: object, nbytes: int) -> None:
        """Put back the message taken last, which the owner could not use: it is the oldest again. Credit
        already given for it stays given."""
        if self.state != "closed":
            self.inbox.appendleft((message, nbytes))
            self.read_bytes -= nbytes
            self.read_messages -= 1

    def give_credit(self) -> list[IncomingAction]:
        """Return credit for what was taken, if the sender can still use it."""
        nbytes = self.read_bytes - self._credited_bytes
        messages = self.read_messages - self._credited_messages
        if self.state != "open" or messages <= 0:  # as it is after `put_back`
            return []
        self._credited_bytes, self._credited_messages = self.read_bytes, self.read_messages
        asked, self._asked = self._asked, False
        return [GiveCredit(nbytes, messages, asked)]

    def handle(self, event: IncomingEvent) -> list[IncomingAction]:
        """Handle an event; return the actions to take, in order."""
        if self.state == "closed":
            return []
        if isinstance(event, CreditAsked):
            self._asked = True
            return [] if self.inbox else self.give_credit()
        if isinstance(event, (Close, Abort)):
            told = self.state != "open"
            self.state = "closed"
            self.inbox.clear()
            self._arrived_bytes = self.read_bytes
            if told:
                return []
            return [TellAborted(event.cause) if isinstance(event, Abort) else TellDropped()]
        if self.state == "open":
            if isinstance(event, AbortArrived):
                self.state, self.cause = "failed", event.cause
            else:
                self.state = "ended" if isinstance(event, FinArrived) else "gone"
        return []
