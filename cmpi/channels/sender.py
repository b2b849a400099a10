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

    It opens at once, even if the other process has not started yet or never receives. Messages are
    delivered once and in order, even if this process ends right after sending. It closes when the last
    reference to it is dropped.

    Args:
        pid: The receiving process; not this one.
        name: Distinguishes several channels between the same two processes.
        capacity: How much may be in flight, sent but not yet read: a number of messages, or bytes
            as text such as "64 MiB". The default is 32 MiB and 1024 messages. A message that is larger is
            sent when nothing else is in flight.

    Raises:
        ChannelExists: There is an open sender with this pid and name, or the pid is this process's own.
        NotRunning: This process is not part of a job.

    `Sender[int](pid)` gives the channel a type, which is checked on every send and compared with
    the receiver's. Different threads may use different channels, but only one at a time may use one
    channel. Source: Constellation's `Sender::new(pid)`; Hoare, "Communicating Sequential Processes" (1978),
    but with a buffer.
    """

    @classmethod
    def broadcast(cls, pids: Iterable[Pid], *, name: str = "") -> Any:
        """One sender to many processes, which pickles each value once: see `Broadcast`."""
        return Broadcast(cls, pids, name)

    @classmethod
    def to(cls, to: str | Pid, *, capacity: int | str | None = None) -> NamedSender[T]:
        """A sender to a mailbox: see `NamedSender` and `Mailbox`.

        Args:
            to: The mailbox's name, or the Pid of the process if its mailbox has no name.
            capacity: As for `Sender`; it applies to each process that has the mailbox in turn.

        Blocks: never; its `send` waits until a process has the name.
        """
        from cmpi.channels.mail_sender import NamedSender

        return NamedSender(to, getattr(cls, "hint", Any), capacity)

    def loan(self, shape: int | tuple[int, ...], dtype: Any = float) -> NDArray[Any]:
        """Lend an array to fill and then send through this sender; a large one is sent without a copy.

        Args:
            shape: As in `numpy.empty`.
            dtype: As in `numpy.empty`, but without objects or structured types.

        Returns:
            An uninitialised array. After `send` it is read-only here and belongs to the receiver, which
            may change it. If it is not sent, its memory is freed with the last reference.

        The memory is shared with the receiving process if the two have already exchanged some messages
        and there is room (`cmpirun --shared-memory`). Otherwise it is ordinary memory, and the
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
        """A binary file that sends what is written to it; closing it closes this sender.

        Args:
            buffer_bytes: The size of the pieces in which the bytes are sent; `flush` sends a smaller one.

        Its `write` and `close` block and raise as `send`.
        """
        return ByteWriter(self, buffer_bytes)
