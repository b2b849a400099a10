"""One channel: the sending half and the receiving half, as two machines.

Credit bounds what is under way: the sender has in flight (sent and not yet taken by the reader)
at most `WINDOW_BYTES` and `WINDOW_MESSAGES`; a message larger than the window goes when nothing
else is in flight. So the reader's memory is bounded by the window or by one message, and every
message can be sent some time. Credit comes back as the reader takes messages, in batches of a
quarter of the window. A sender that waits asks for what is left of it, and is given that as soon
as the inbox is empty (else one that needs the whole window would wait for ever); nobody else is,
because a frame for each message would double the work of a ping-pong.

    sending half     open ──Close──▶ closed (Fin follows the last message)
                     open ──Dropped──▶ dropped       open ──Gone──▶ gone
    receiving half   open ──FinArrived──▶ ended      open ──Gone──▶ gone     open ──Close──▶ closed

In the receiving half, what has arrived is read before the end is seen.

The events are records given to `handle`, but for the three of every message (`admit`, `arrived`,
`take`), which are methods: making a record takes as long as all the rest of them.
"""

from __future__ import annotations

from collections import deque

from cmpi._core.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

WINDOW_BYTES = 32 << 20
WINDOW_MESSAGES = 1024


@record
class Statistics:
    """What went through one end of a channel so far.

    Attributes:
        messages: Sent, or read.
        nbytes: Of these, pickled.
        credit: Bytes that the sender may send before the reader has read more.
        waiting: Messages that wait: at the sender for credit, at the reader to be read.
        peak: The most bytes that were ever sent and not known to be read, or had arrived unread.
    """

    messages: int
    nbytes: int
    credit: int
    waiting: int
    peak: int


# -- events -------------------------------------------------------------------------------


@record
class Send:
    """The owner sends a message of so many bytes that `admit` refused; `ticket` names it."""

    ticket: int
    nbytes: int


@record
class Withdraw:
    """The owner no longer wants to send this message (its time ran out)."""

    ticket: int


@record
class Close:
    """The owner closes this half."""


@record
class CreditCame:
    """The reader took so much."""

    nbytes: int
    messages: int


@record
class Dropped:
    """The reader closed its half."""


@record
class Gone:
    """The process at the other end has ended."""


@record
class FinArrived:
    """The sender closed its half; this is behind its last message."""


@record
class CreditAsked:
    """The sender waits for credit."""


# -- actions ------------------------------------------------------------------------------


@record
class Transmit:
    """Send this message now."""

    ticket: int


@record
class TransmitFin:
    """Send the end mark now."""


@record
class AskCredit:
    """Tell the reader that a message waits here."""


@record
class Fail:
    """This message will never be sent; the half's `state` says why."""

    ticket: int


@record
class GiveCredit:
    """Tell the sender that so much was taken."""

    nbytes: int
    messages: int


@record
class TellDropped:
    """Tell the sender that nobody reads any more."""


if TYPE_CHECKING:
    OutgoingEvent: TypeAlias = "Send | Withdraw | Close | CreditCame | Dropped | Gone"
    OutgoingAction: TypeAlias = "Transmit | TransmitFin | AskCredit | Fail"
    IncomingEvent: TypeAlias = "FinArrived | CreditAsked | Gone | Close"
    IncomingAction: TypeAlias = "GiveCredit | TellDropped"


class Outgoing:
    """The sending half. Not thread-safe; never blocks."""

    def __init__(self, window_bytes: int = WINDOW_BYTES, window_messages: int = WINDOW_MESSAGES) -> None:
        self.state = "open"
        self.window_bytes, self.window_messages = window_bytes, window_messages
        self.in_flight_bytes = self.in_flight_messages = 0
        self.sent_bytes = self.sent_messages = self.peak_bytes = 0
        self._waiting: deque[Send] = deque()
        self._asked = False  # for credit, since some last came

    def room_for(self, nbytes: int) -> bool:
        """True if a message of so many bytes would go at once."""
        return not self._waiting and self._fits(nbytes)

    def admit(self, nbytes: int) -> bool:
        """The owner sends a message of so many bytes: True if it goes at once."""
        if self._waiting or self.state != "open" or not self._fits(nbytes):
            return False
        self._count(nbytes)
        return True

    @property
    def idle(self) -> bool:
        """True if nothing waits for credit."""
        return not self._waiting

    @property
    def statistics(self) -> Statistics:
        """What went through so far."""
        credit = max(0, self.window_bytes - self.in_flight_bytes)
        return Statistics(self.sent_messages, self.sent_bytes, credit, len(self._waiting), self.peak_bytes)

    def handle(self, event: OutgoingEvent) -> list[OutgoingAction]:
        """Take in an event; return what is to be done, in order."""
        if isinstance(event, Send):
            if self.state != "open":
                return [Fail(event.ticket)]
            self._waiting.append(event)
            return self._advance()
        if isinstance(event, CreditCame):
            self._asked = False
            self.in_flight_bytes -= event.nbytes
            self.in_flight_messages -= event.messages
            return self._advance()
        if isinstance(event, Withdraw):
            self._waiting = deque(item for item in self._waiting if item.ticket != event.ticket)
            return self._advance()
        if self.state != "open":
            # After Close the queue may still drain, so a lost reader matters even then.
            if isinstance(event, Close) or not self._waiting:
                return []
        elif isinstance(event, Close):
            self.state = "closed"
            return self._advance() if self._waiting else [TransmitFin()]
        self.state = "dropped" if isinstance(event, Dropped) else "gone"
        failed, self._waiting = self._waiting, deque()
        return [Fail(item.ticket) for item in failed]

    def _fits(self, nbytes: int) -> bool:
        if self.in_flight_messages == 0:
            return True
        return (
            self.in_flight_bytes + nbytes <= self.window_bytes
            and self.in_flight_messages < self.window_messages
        )

    def _count(self, nbytes: int) -> None:
        self.in_flight_bytes += nbytes
        self.in_flight_messages += 1
        self.sent_bytes += nbytes
        self.sent_messages += 1
        if self.in_flight_bytes > self.peak_bytes:
            self.peak_bytes = self.in_flight_bytes

    def _advance(self) -> list[OutgoingAction]:
        if self.state not in ("open", "closed"):
            return []
        actions: list[OutgoingAction] = []
        waited = bool(self._waiting)
        while self._waiting and self._fits(self._waiting[0].nbytes):
            item = self._waiting.popleft()
            self._count(item.nbytes)
            actions.append(Transmit(item.ticket))
        if self._waiting and not self._asked:
            self._asked = True
            actions.append(AskCredit())
        if self.state == "closed" and waited and not self._waiting:
            actions.append(TransmitFin())  # Behind the data, so the reader sees every message first.
        return actions


class Incoming:
    """The receiving half. Not thread-safe; never blocks."""

    def __init__(self, window_bytes: int = WINDOW_BYTES, window_messages: int = WINDOW_MESSAGES) -> None:
        self.state = "open"
        self.unread_bytes = 0
        self.read_bytes = self.read_messages = self.peak_bytes = 0
        self.set_window(window_bytes, window_messages)
        self.inbox: deque[tuple[Any, int]] = deque()  # messages with their bytes
        self._taken_bytes = self._taken_messages = 0  # not yet told to the sender
        self._asked = False  # the sender waits

    def __len__(self) -> int:
        return len(self.inbox)

    def set_window(self, nbytes: int, messages: int) -> None:
        """The sender's window, of which it tells on opening."""
        self._window_bytes = nbytes
        self._quarter = (nbytes // 4, messages // 4)

    @property
    def statistics(self) -> Statistics:
        """What went through so far."""
        credit = max(0, self._window_bytes - self.unread_bytes)
        return Statistics(self.read_messages, self.read_bytes, credit, len(self.inbox), self.peak_bytes)

    def arrived(self, message: object, nbytes: int) -> None:
        """A message of so many bytes came from the sender. None is not a message."""
        if self.state == "closed":
            return
        self.inbox.append((message, nbytes))
        self.unread_bytes += nbytes
        if self.unread_bytes > self.peak_bytes:
            self.peak_bytes = self.unread_bytes

    def take(self) -> tuple[Any, bool]:
        """The owner takes the oldest message, None if there is none; whether credit is due now."""
        if not self.inbox:
            return None, False
        message, nbytes = self.inbox.popleft()
        self.unread_bytes -= nbytes
        self.read_bytes += nbytes
        self.read_messages += 1
        self._taken_bytes += nbytes
        self._taken_messages += 1
        return message, (
            self._taken_messages >= self._quarter[1]
            or self._taken_bytes >= self._quarter[0]
            or (self._asked and not self.inbox)
        )

    def give_credit(self) -> list[IncomingAction]:
        """Credit for what was taken, if the sender can still use it."""
        if self.state != "open":
            return []
        given = GiveCredit(self._taken_bytes, self._taken_messages)
        self._taken_bytes = self._taken_messages = 0
        self._asked = False
        return [given]

    def handle(self, event: IncomingEvent) -> list[IncomingAction]:
        """Take in an event; return what is to be done, in order."""
        if self.state == "closed":
            return []
        if isinstance(event, CreditAsked):
            self._asked = True
            return self.give_credit() if self._taken_messages and not self.inbox else []
        if isinstance(event, Close):
            told = self.state != "open"
            self.state = "closed"
            self.inbox.clear()
            self.unread_bytes = 0
            return [] if told else [TellDropped()]
        if self.state == "open":
            self.state = "ended" if isinstance(event, FinArrived) else "gone"
        return []
