"""`Sender`: the sending end of a channel."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from cmpi._transport import pickling
from cmpi.channels.base_sender import BaseSender
from cmpi.channels.broadcast import Broadcast
from cmpi.channels.byte_files import ByteWriter
from cmpi.identifiers import Pid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cmpi.channels.mail_sender import NamedSender

T = TypeVar("T")


class Sender(BaseSender[T]):
    """The sending end of the channel from this process to `pid`.

    Opens at once, whether or not the other process has started yet or will ever receive. What is
    sent is delivered once and in order, also if this process ends right after. With the last reference
    to it, it closes.

    Args:
        pid: The receiving process; not this one.
        name: Tells several channels between the same two processes apart.
        capacity: How much may be under way, sent and not yet read: a number of messages, or bytes
            as text such as "64 MiB". The default is 32 MiB and 1024 messages. A larger message goes
            when nothing else is under way.

    Raises:
        ChannelExists: There is an open sender with this pid and name, or it is this process's own.
        NotRunning: This process is not part of a job.

    `Sender[int](pid)` gives the channel a type, which is checked on every send and compared with
    the receiver's. Several threads may use different channels; one channel, one thread at a time.
    Source: Constellation's `Sender::new(pid)`; Hoare, "Communicating Sequential Processes" (1978),
    but with a buffer.
    """

    @classmethod
    def broadcast(cls, pids: Iterable[Pid], *, name: str = "") -> Any:
        """One sender to many processes, which serialises once: see `Broadcast`."""
        return Broadcast(cls, pids, name)

    @classmethod
    def to(cls, to: str | Pid, *, capacity: int | str | None = None) -> NamedSender[T]:
        """A sender to a mailbox: see `NamedSender` and `Mailbox`.

        Args:
            to: The mailbox's name, or the Pid of the process whose mailbox has none.
            capacity: As for `Sender`; to each process that has the mailbox in turn.

        Blocks: never; its `send` waits until a process has the name.
        """
        from cmpi.channels.mail_sender import NamedSender

        return NamedSender(to, getattr(cls, "hint", Any), capacity)

    def loan(self, shape: int | tuple[int, ...], dtype: Any = float) -> NDArray[Any]:
        """Memory for an array to fill and then send through this sender, without a copy if it is large.

        Args:
            shape: As in `numpy.empty`.
            dtype: Likewise; no objects, no structure.

        Returns:
            An array with whatever was in its memory before. After `send` it can only be read, and is
            the receiver's, who may change it. If it is not sent, it ends with its last reference.

        The memory is shared with the receiving process, once the two have exchanged some messages
        and while there is room (`cmpirun --shared-memory`); otherwise it is ordinary memory, and the
        array is copied when it is sent. Blocks: never.
        """
        import numpy as np

        array: NDArray[Any] = np.empty(0, dtype)
        nbytes = array.itemsize * int(np.prod(shape))
        place = None
        if nbytes >= pickling.OUT_OF_BAND_BYTES and array.dtype.kind not in "OV":
            with self._lock:
                (place,) = self._lane.reserve([nbytes])
        if place is None:
            return np.empty(shape, dtype)
        array = np.ndarray(shape, dtype, place.memory)
        self._end.loans[id(array)] = place.lend(array, self._end.loans)
        return array

    def makefile(self: Sender[bytes], buffer_bytes: int = 1 << 18) -> io.BufferedWriter:
        """A binary file to write to; closing it closes this sender.

        Args:
            buffer_bytes: What is written is sent in pieces of this size, or when it is flushed.

        Its `write` and `close` block and raise as `send`.
        """
        return ByteWriter(self, buffer_bytes)
