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

    It opens at once. Messages sent before it exists are kept, up to the channel's capacity; then the sender
    waits. It closes when the last reference to it is dropped.

    Args:
        pid: The sending process; not this one.
        name: Distinguishes several channels between the same two processes.

    Raises:
        ChannelExists: There is an open receiver with this pid and name, or the pid is this process's own.
        NotRunning: This process is not part of a job.

    Iteration yields the messages until the sender closes. Only one thread may use it at a time.
    Source: as `Sender`.
    """

    @classmethod
    def any(cls, pids: Iterable[Pid], *, name: str = "") -> Any:
        """One receiver for many processes, to which more can be added: see `AnyReceiver`."""
        return AnyReceiver(cls, pids, name)

    def makefile(self: Receiver[bytes]) -> io.BufferedReader:
        """A binary file that reads all messages until the sender closes; closing it closes this receiver.

        Its `read` blocks and raises as `recv`.
        """
        return ByteReader(self)
