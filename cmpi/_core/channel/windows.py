"""How much unread data a process that has asked for memory lets others send to it. Pure.

Without that, each channel's window is the sender's `capacity`, and many windows together can be more than
the receiver may use, so that it would be killed for what others have sent. Here a channel begins with a
small window, and gets more when its sender has to wait, as long as all windows of the process stay within a
share of what it asked for. The sender knows of the promise too, from the root. A channel that is opened
later still begins with its small window, even beyond that share.

A capacity in messages, and one message that is larger than its window, are not bounded.
"""

from __future__ import annotations

from cmpi._core.channel.channel import UNBOUNDED_BYTES

FIRST_BYTES = 1 << 20
SHARE = 4  # all windows together get a quarter of the memory; what was read, and the program, need the rest


def first(requested_bytes: int, promised_bytes: int) -> int:
    """A channel's window at first.

    Args:
        requested_bytes: The window that the sender asks for.
        promised_bytes: What the receiving process has asked for; 0: nothing.
    """
    if not promised_bytes or requested_bytes == UNBOUNDED_BYTES:
        return requested_bytes
    return min(requested_bytes, FIRST_BYTES)


class Windows:
    """The windows of all channels that a process receives from.

    Args:
        promised_bytes: What the process has asked for; 0: nothing, and senders get the windows
            that they ask for.
    """

    def __init__(self, promised_bytes: int) -> None:
        self._promised_bytes, self.open_bytes = promised_bytes, 0

    def open(self, requested_bytes: int) -> int:
        """A channel was opened; returns its window."""
        window_bytes = first(requested_bytes, self._promised_bytes)
        self._count(window_bytes)
        return window_bytes

    def widen(self, window_bytes: int, requested_bytes: int) -> int:
        """A sender waits: returns its new window, which may be the old one.

        It gets at most half of what is left, so that others find some, too.
        """
        more = min(requested_bytes - window_bytes, (self._promised_bytes // SHARE - self.open_bytes) // 2)
        if more < min(FIRST_BYTES, requested_bytes - window_bytes) or more <= 0:
            return window_bytes
        self._count(more)
        return window_bytes + more

    def close(self, window_bytes: int) -> None:
        """A channel with this window was closed."""
        self._count(-window_bytes)

    def _count(self, nbytes: int) -> None:
        if abs(nbytes) != UNBOUNDED_BYTES:
            self.open_bytes += nbytes
