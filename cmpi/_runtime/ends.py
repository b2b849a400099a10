"""The two ends of a channel as the node keeps them: a machine, who waits for it, what went wrong."""

from __future__ import annotations

from cmpi._core import channel
from cmpi._core.contract import fits
from cmpi._runtime.changes import Changes
from cmpi.errors import ChannelClosed, ContractMismatch, EndOfChannel, PeerClosed, PeerExited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._ids import ExitStatus, Pid
    from cmpi._transport.pickling import Message


class End:
    """What both ends have. All of it is guarded by the node's lock."""

    def __init__(self, changed: Changes, peer: Pid, name: str, contract: str, site: str) -> None:
        self.peer, self.name, self.contract, self.site = peer, name, contract, site
        self.changed = changed
        self.busy = False  # a thread is in the middle of an operation
        self.status: ExitStatus | None = None  # of the peer, once it has ended
        self.mismatch: ContractMismatch | None = None

    def disagree(self, contract: str, site: str) -> bool:
        """Note that the other end is of another type; False if it is not."""
        if fits(self.contract, contract):
            return False
        name = f" {self.name!r}" if self.name else ""
        self.mismatch = ContractMismatch(
            f"the channel{name} with {self.peer} carries {self.contract} at {self.site}, but {contract} "
            f"at {site}. Give both ends the same type."
        )
        self.changed.notify_all()
        return True

    def _peer_exited(self) -> PeerExited:
        assert self.status is not None
        return PeerExited(self.peer, self.status)


class SenderEnd(End):
    """The sending end."""

    def __init__(
        self,
        changed: Changes,
        peer: Pid,
        name: str,
        contract: str,
        site: str,
        number: int,
        window: tuple[int, int],
    ) -> None:
        super().__init__(changed, peer, name, contract, site)
        self.number = number  # what the link's frames call it
        self.opened = False  # the peer was told of it
        self.machine = channel.Outgoing(*window)
        self.messages: dict[int, Message] = {}  # by ticket: those that wait for credit
        self.failed: set[int] = set()  # tickets
        self.next_ticket = 0

    def error(self) -> Exception:
        """Why nothing can be sent."""
        if self.mismatch is not None:
            return self.mismatch
        if self.machine.state == "closed":
            return ChannelClosed(f"this sender to {self.peer} was closed")
        if self.status is not None:
            return self._peer_exited()
        return PeerClosed(f"{self.peer} has closed its receiver; nobody would read this")


class ReceiverEnd(End):
    """The receiving end; without a number as long as the sender is not known."""

    def __init__(self, changed: Changes, peer: Pid, name: str, contract: str, site: str) -> None:
        super().__init__(changed, peer, name, contract, site)
        self.number: int | None = None
        self.claimed = False  # there is a Receiver for it
        self.their_contract, self.their_site = "Any", ""
        self.machine = channel.Incoming()

    @property
    def readable(self) -> bool:
        """True if a receive would not wait: for a message, or for its error."""
        machine = self.machine
        return bool(machine.inbox) or machine.state != "open" or self.mismatch is not None

    def error(self) -> Exception:
        """Why nothing more will be received."""
        if self.mismatch is not None:
            return self.mismatch
        if self.machine.state == "closed":
            return ChannelClosed(f"this receiver from {self.peer} was closed")
        if self.machine.state == "gone":
            return self._peer_exited()
        return EndOfChannel(f"{self.peer} has closed its sender, and all it sent was read")
