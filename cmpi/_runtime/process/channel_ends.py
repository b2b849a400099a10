"""The process's view of a channel's two ends: the state machine, waiting threads, errors.

Sending or receiving a small message that need not wait takes one method of an end (`send_now`, `recv_now`),
so that the whole path can be compiled (see `setup.py`).
"""

from __future__ import annotations

from cmpi._base.interrupts import came_from_handler
from cmpi._core.channel import channel
from cmpi._core.channel.contract import Contract, fits
from cmpi._runtime.process.condition import refuse_in_loop
from cmpi._runtime.process.signal_guard import call_put_off, put_off
from cmpi._transport import pickling, scripts
from cmpi.errors import (
    ChannelClosed,
    ContractMismatch,
    EndOfChannel,
    PeerClosed,
    PeerExited,
    PeerFailed,
    UsageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cmpi._runtime.process.aborts import Fate
    from cmpi._runtime.process.end_owner import EndOwner
    from cmpi._transport.pickling import Message
    from cmpi._transport.segment import Block
    from cmpi.identifiers import ExitStatus

ANY = Contract()
NOTHING: Any = object()  # the result of `recv_now` if there is no message


class End:
    """The common base of both ends. Guarded by the node's lock, `lock`."""

    def __init__(self, peer: EndOwner, name: str, contract: Contract, site: str) -> None:
        self.peer, self.pid, self.name, self.contract, self.site = peer, peer.pid, name, contract, site
        self.connection = peer.connection
        self.changed = peer.new_condition()
        self.lock: Any = peer.lock
        lock = self.lock
        self._release, self._owned = lock.release, lock._is_owned
        self.busy = False  # a thread is in the middle of an operation
        self.status: ExitStatus | None = None  # of the peer, once it has ended
        self.mismatch: ContractMismatch | None = None

    def disagree(self, contract: str, site: str) -> bool:
        """Note a different type at the other end; False if the types agree."""
        if fits(self.contract.text, contract):
            return False
        name = f" {self.name!r}" if self.name else ""
        self.mismatch = ContractMismatch(
            f"the channel{name} with {self.pid} carries {self.contract.text} at {self.site}, but "
            f"{contract} at {site}. Give both ends the same type."
        )
        self.changed.notify_all()
        return True

    def _peer_exited(self) -> PeerExited:
        assert self.status is not None
        if not self.status.ok:
            self.peer.looked_at()
        return PeerExited(self.pid, self.status)

    def _peer_failed(self, cause: str) -> PeerFailed:
        self.peer.looked_at()
        return PeerFailed(self.pid, cause)


class SenderEnd(End):
    """The sending end."""

    def __init__(
        self, peer: EndOwner, name: str, contract: Contract, site: str, number: int, window: tuple[int, int]
    ) -> None:
        super().__init__(peer, name, contract, site)
        self.number = number  # identifies the channel in the connection's frames
        self.opened = False  # the peer has been told of it
        self.requested_bytes = window[0]  # its window, if the receiver can afford that
        self.machine = channel.Outgoing(window[0], window[1])
        self._by_name = scripts.is_home(self.pid.value)
        self.just_sent = False  # `send_now` has sent its message
        self.loans: dict[int, Block] = {}  # by the id of the array that lies in the block

    def pack(self, value: Any) -> Message:
        """Return the message for the value, if it is of the channel's type. Without the lock.

        Raises: ContractMismatch, NotPicklable, UsageError. Blocks: for the time of pickling.
        """
        contract = self.contract
        if not contract.anything and not contract.accepts(value):
            contract.refuse(value)
        place = self.loans.get(id(value)) if self.loans else None
        if place is not None:
            if place.was_sent:
                raise UsageError(
                    "this loan was already sent: its memory is the receiver's now. Call loan() again"
                )
            message = pickling.dumps_array(value)
            assert isinstance(message, pickling.Large)
            message.places = [place]
            return message
        if contract.array:
            return pickling.dumps_array(value)
        return pickling.dumps(value, "value", self._by_name)

    def abort(self, cause: str, fate: Fate) -> None:
        """An exception made the owner abandon this end; `cause` describes it to the peer. With the lock."""
        self.peer.abort_sender(self, cause, fate)

    def send_now(self, value: Any) -> Message | None:
        """Send a value if it is small and there is room for it; otherwise return its message. Without the
        lock.

        Raises: as `pack`; UsageError in an event loop.
        """
        self.just_sent = False
        refuse_in_loop("send()", "`await sender.asend(value)`")
        message = self.pack(value)
        if not isinstance(message, bytes) or self._owned():
            return message
        connection = self.connection
        self.lock.acquire()
        try:
            if not self.opened or self.busy or self.mismatch is not None:
                return message
            if not self.machine.admit(len(message)):
                return message
            connection.post_small(self.number, message, wake=False)
            self.just_sent = True
        finally:
            self._release()
        connection.wake()
        if put_off:
            call_put_off()
        return None

    def recover(self, error: BaseException) -> None:
        """`error` was raised by `send_now`, or right after it: tell the caller whether the message was
        sent."""
        if came_from_handler(error):
            error.sent = self.just_sent  # type: ignore[attr-defined]

    def close(self) -> None:
        """Close the channel behind what was sent."""
        self.peer.close_sender(self)

    def error(self) -> Exception:
        """Why nothing can be sent."""
        if self.mismatch is not None:
            return ContractMismatch(str(self.mismatch))  # a new one: a traceback keeps frames alive
        if self.machine.state == "closed":
            return ChannelClosed(f"this sender to {self.pid} was closed")
        if self.machine.state == "failed":
            return self._peer_failed(self.machine.cause)
        if self.status is not None:
            return self._peer_exited()
        return PeerClosed(f"{self.pid} has closed its receiver, so the message would never be read")


class ReceiverEnd(End):
    """The receiving end; it has no number while the sender is not known."""

    def __init__(self, peer: EndOwner, name: str, contract: Contract = ANY, site: str = "") -> None:
        super().__init__(peer, name, contract, site)
        self.number: int | None = None
        self.claimed = False  # a Receiver owns it
        self.their_contract, self.their_site = "Any", ""
        self.taken: Any = None  # taken by `recv_now`, but not yet returned to its caller
        self.requested_bytes = 0  # the window that the sender would like
        self.machine = channel.Incoming()

    @property
    def readable(self) -> bool:
        """True if a receive would not wait: there is a message or an error."""
        machine = self.machine
        return bool(machine.inbox) or machine.state != "open" or self.mismatch is not None

    def look(self) -> None:
        """Look for a message, as long as there is something to hear."""
        inbox = self.connection.inbox
        while not self.readable and inbox.look():
            pass

    def refuse_in_loop(self) -> None:
        """Refuse a receive, which would block, in an event loop. Raises: UsageError."""
        refuse_in_loop("recv()", "`await receiver.arecv()`")

    def abort(self, cause: str, fate: Fate) -> None:
        """An exception made the owner abandon this end; `cause` describes it to the peer. With the lock."""
        self.peer.abort_receiver(self, cause, fate)

    def recv_now(self) -> Any:
        """Return the value of the oldest message, if there is one or one arrives while looking; else
        NOTHING. Without the lock.

        Raises: UsageError in an event loop; whatever unpickling the user's own classes raises.
        """
        self.refuse_in_loop()
        if self._owned():
            return NOTHING
        self.lock.acquire()
        try:
            if self.busy or self.mismatch is not None:
                return NOTHING
            if not self.machine.inbox:
                self.look()
                if not self.machine.inbox:
                    return NOTHING
            self.taken = message = self.take()
        finally:
            self._release()
        if put_off:
            call_put_off()
        return self.unpack(message)

    def take(self) -> Any:
        """Take the oldest message; None if there is none."""
        message, credit_due = self.machine.take()
        if credit_due:
            self.peer.give_credit(self)
        return message

    def take_all(self) -> list[Any]:
        """All messages that are here or on the way in, oldest first. With the lock."""
        if not self.machine.inbox:
            self.connection.inbox.scan()
        messages = []
        while self.machine.inbox:
            messages.append(self.take())
        return messages

    @staticmethod
    def unpack(message: Any) -> Any:
        """Return a message's value. Without the lock.

        Raises: whatever unpickling the program's own classes raises, except that RuntimeError replaces
            exceptions that would end a loop over the channel (as PEP 479 does for generators).
        """
        try:
            if isinstance(message, bytes):
                return pickling.loads(message)
            body, buffers = message
            return pickling.loads(body, buffers)
        except (EndOfChannel, StopIteration, StopAsyncIteration) as error:
            raise RuntimeError(f"unpickling a message raised {type(error).__name__}") from error

    def recover(self, error: BaseException) -> None:
        """`error` was raised by `recv_now`, or right after it: a message that it had taken can be received
        again, unless unpickling that message raised the error."""
        message, self.taken = self.taken, None
        if message is not None and came_from_handler(error):
            with self.lock:
                self.put_back(message)

    def put_back(self, message: Any) -> None:
        """The message taken last could not be returned: it is the oldest again. With the lock."""
        if isinstance(message, bytes):
            nbytes = len(message)
        else:
            nbytes = len(message[0]) + sum(memoryview(buffer).nbytes for buffer in message[1])
        self.machine.put_back(message, nbytes)
        self.changed.notify_all()

    def close(self) -> None:
        """Close the channel: nobody reads here any more."""
        self.peer.close_receiver(self)

    def error(self) -> Exception:
        """Why nothing more will be received."""
        if self.mismatch is not None:
            return ContractMismatch(str(self.mismatch))  # a new one: a traceback keeps frames alive
        if self.machine.state == "closed":
            return ChannelClosed(f"this receiver from {self.pid} was closed")
        if self.machine.state == "gone":
            return self._peer_exited()
        if self.machine.state == "failed":
            return self._peer_failed(self.machine.cause)
        return EndOfChannel(f"{self.pid} has closed its sender, and all its messages have been read")
