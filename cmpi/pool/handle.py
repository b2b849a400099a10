"""A pool's records of its workers and tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cmpi._transport import pickling
from cmpi.channels.receiver import Receiver
from cmpi.channels.sender import Sender
from cmpi.identifiers import Pid

if TYPE_CHECKING:
    from typing import Protocol

    from cmpi.errors import CmpiError
    from cmpi.pool.claims import Recalls
    from cmpi.pool.future import PoolFuture
    from cmpi.pool.shared import Packed

    class WorkerOwner(Protocol):
        """The group, as a worker's handle sees it."""

        def answered(self, handle: WorkerHandle, answers: list[Any]) -> None:
            """The worker has sent these answers."""

        def ended(self, handle: WorkerHandle, error: CmpiError) -> None:
            """The worker's channel has ended."""


class WorkerHandle:
    """A worker process as the pool sees it."""

    def __init__(self, group: WorkerOwner, number: int, pids: list[Pid], name: str) -> None:
        self.group, self.number, self.pids, self.name = group, number, pids, name
        self.answers = Receiver[Any](pids[0], name=name)
        self.tasks = Sender[Any](pids[0], name=name)
        self.functions: set[int] = set()  # the functions that it has
        self.buffers: set[int] = set()  # the buffers that it was sent or has used
        self.host = ""
        self.recalls: Recalls | None = None  # the way to take tasks back from it

    def send(self, records: list[tuple[Any, ...]]) -> None:
        """Send records (see `worker`) in one message, also from a thread with an event loop.

        Raises: PeerExited, PeerClosed, ChannelClosed. Blocks: for a copy, as the channel has room for it.
        """
        self.tasks._send(pickling.dumps(records), None)


class Submission:
    """A task as the pool keeps it until it is over."""

    __slots__ = (
        "begun",
        "function",
        "future",
        "kind",
        "label",
        "number",
        "packed",
        "retries",
        "retry_exceptions",
        "timeout_s",
    )

    def __init__(
        self,
        future: PoolFuture,
        kind: int,
        function: int,
        packed: Packed,
        label: str,
        retries: int = 0,
        retry_exceptions: tuple[type[BaseException], ...] = (),
        timeout_s: float | None = None,
    ) -> None:
        self.future, self.number, self.kind, self.function = future, future._number, kind, function
        self.packed, self.label = packed, label
        self.retries, self.retry_exceptions, self.timeout_s = retries, retry_exceptions, timeout_s
        self.begun = False  # a worker has it, or it has failed: its future is running
