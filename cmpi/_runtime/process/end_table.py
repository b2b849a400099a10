"""The ends of channels with one peer, by the channel's number or, until that is known, its name."""

from __future__ import annotations

from collections import deque

from cmpi._runtime.process.channel_ends import ReceiverEnd, SenderEnd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.channel.windows import Windows


class EndTable:
    """The ends of channels with one peer. Guarded by the node's lock.

    Args:
        windows: Of the channels that this process receives from.
    """

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self.senders: dict[int, SenderEnd] = {}
        self.receivers: dict[int, ReceiverEnd] = {}  # by number; the sender is known
        self.unclaimed: dict[str, deque[ReceiverEnd]] = {}  # by name: no Receiver yet
        self.expected: dict[str, ReceiverEnd] = {}  # by name: a Receiver, no sender known yet

    def all(self) -> list[SenderEnd | ReceiverEnd]:
        """All ends."""
        return [*self.senders.values(), *self.receivers.values(), *self.expected.values()]

    def take_expected(self, name: str) -> ReceiverEnd | None:
        """The receiving end of that name whose sender has just become known; None: no Receiver waits."""
        return self.expected.pop(name, None)

    def add_unclaimed(self, end: ReceiverEnd) -> None:
        """Keep an end until there is a Receiver for it."""
        self.unclaimed.setdefault(end.name, deque()).append(end)

    def claim(self, name: str) -> ReceiverEnd | None:
        """Take the oldest unclaimed end of that name, if there is one."""
        waiting = self.unclaimed.get(name)
        return waiting.popleft() if waiting else None

    def forget(self, end: SenderEnd | ReceiverEnd) -> None:
        """Forget an end that is closed for good."""
        if isinstance(end, SenderEnd):
            self.senders.pop(end.number, None)
        elif end.number is not None:
            if self.receivers.pop(end.number, None) is not None:
                self._windows.close(end.machine.window_bytes)
        elif self.expected.get(end.name) is end:
            del self.expected[end.name]

    def open_sender(self, name: str) -> SenderEnd | None:
        """The open sending end of that name, if any."""
        mine = (end for end in self.senders.values() if end.name == name)
        return next((end for end in mine if end.machine.state == "open"), None)

    def open_receiver(self, name: str) -> ReceiverEnd | None:
        """The receiving end of that name that is open or still has messages, if any."""
        known = (end for end in self.receivers.values() if end.claimed and end.name == name)
        expected = self.expected.get(name)
        ends = [*known, *([] if expected is None else [expected])]
        return next((end for end in ends if end.machine.state == "open" or end.machine.inbox), None)

    @property
    def unread(self) -> bool:
        """True if there are messages, or whole channels, that the program has not received yet."""
        return any(self.unclaimed.values()) or any(end.machine.inbox for end in self.receivers.values())
