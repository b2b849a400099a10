"""The messages of a channel: a stream that need not end, whose rows come when somebody sends them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from cmpi.channels.mailbox import Mailbox
from cmpi.data.sources.memory import Items
from cmpi.errors import ChannelClosed, EndOfChannel

MAX_ROWS = 1024  # of messages that have arrived together, in one split
MAX_BYTES = 8 << 20


class Later:
    """Takes the place of a split that is not there yet, so that the results of earlier splits can be
    delivered before it is waited for.

    Args:
        messages: Where it comes from. None: no further split comes, only the end of the channel or an
            error; all results must be delivered first.
    """

    def __init__(self, messages: ReceivedMessages | None) -> None:
        self._messages = messages

    @property
    def final(self) -> bool:
        """Whether no further split comes."""
        return self._messages is None

    def wait(self, timeout_s: float | None) -> None:
        """Blocks: until there is a message or the channel has ended, or for `timeout_s` seconds."""
        assert self._messages is not None
        self._messages.receive(timeout_s)


class ReceivedMessages:
    """Messages that have been received and not yet handed on.

    Args:
        receiver: See `ChannelRows`.
    """

    def __init__(self, receiver: Any) -> None:
        self._receiver = receiver
        # A mailbox has no end but that its owner closes it.
        self._ends = (EndOfChannel, ChannelClosed) if isinstance(receiver, Mailbox) else (EndOfChannel,)
        self._rows: list[Any] = []
        self._nbytes = 0
        self._error: Exception | None = None

    def receive(self, timeout_s: float | None) -> bool:
        """Whether there was a message, which is kept. Blocks: for that."""
        try:
            row = self._receiver.recv(timeout=timeout_s)
        except TimeoutError:
            return False
        except Exception as error:
            self._error = error
            return False
        self._rows.append(row)
        self._nbytes += int(getattr(row, "nbytes", 0)) or sys.getsizeof(row)
        return True

    def splits(self) -> Iterator[Items | Later]:
        """Yield what has arrived, as one split, or `Later` if nothing has. Raises: the receiver's error."""
        while self._error is None:
            while len(self._rows) < MAX_ROWS and self._nbytes < MAX_BYTES and self.receive(0):
                pass
            if self._rows:
                rows, self._rows, self._nbytes = self._rows, [], 0
                yield Items(rows)
            elif self._error is None:
                yield Later(self)
        if self._rows:
            yield Items(self._rows)
        yield Later(None)
        if not isinstance(self._error, self._ends):
            raise self._error


class ChannelRows:
    """The messages of a receiver, a mailbox, or anything else with `recv(timeout=)` that raises
    TimeoutError and, at the end, EndOfChannel. The process that runs the stream receives them."""

    def __init__(self, receiver: Any) -> None:
        self.receiver = receiver

    def splits(self) -> Iterator[Items | Later]:
        """Yield what has arrived, as one split, or `Later` if nothing has."""
        return ReceivedMessages(self.receiver).splits()

    def describe(self) -> str:
        """The source as plans show it."""
        return f"channel {self.receiver!r}"
