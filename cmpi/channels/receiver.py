"""`Receiver`: the receiving end of a channel."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from cmpi.channels.any_receiver import AnyReceiver
from cmpi.channels.base_receiver import BaseReceiver
from cmpi.channels.byte_files import ByteReader
from cmpi.identifiers import Pid

if TYPE_CHECKING:
    pass

T = TypeVar("T")


class Receiver(BaseReceiver[T]):
    """The receiving end of the channel from `pid` to this process.

    Opens at once. What was sent before this end was made is kept, as far as the channel's window
    reaches; then the sender waits. With the last reference to it, it closes.

    Args:
        pid: The sending process; not this one.
        name: Tells several channels between the same two processes apart.

    Raises:
        ChannelExists: There is an open receiver with this pid and name, or it is this process's own.
        NotRunning: This process is not part of a job.

    Iterating gives the messages until the sender closes. One thread at a time.
    Source: as `Sender`.
    """

    @classmethod
    def any(cls, pids: Iterable[Pid], *, name: str = "") -> Any:
        """One receiver for many processes, which takes new ones later: see `AnyReceiver`."""
        return AnyReceiver(cls, pids, name)

    def makefile(self: Receiver[bytes]) -> io.BufferedReader:
        """A binary file to read from: all that is sent, to its sender's close; closing it closes this
        receiver. Its `read` blocks and raises as `recv`."""
        return ByteReader(self)
