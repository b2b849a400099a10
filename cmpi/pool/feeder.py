"""Sends tasks to the workers of a group, and before them the functions and buffers that these need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cmpi.errors import ChannelClosed, PeerClosed, PeerExited
from cmpi.pool import worker

if TYPE_CHECKING:
    from cmpi.pool.functions import Functions
    from cmpi.pool.handle import Submission, WorkerHandle
    from cmpi.pool.shared import Hoisted, SharedBuffers

GONE = (PeerExited, PeerClosed, ChannelClosed)


class Feeder:
    """Sends each worker its tasks, and what it does not have yet. Guarded by the group's lock.

    Args:
        functions: The pool's functions.
        buffers: The pool's hoisted buffers.
    """

    def __init__(self, functions: Functions, buffers: SharedBuffers) -> None:
        self._functions, self._buffers = functions, buffers
        self.handles: dict[int, WorkerHandle] = {}  # of the workers that have not ended
        self._present: dict[str, set[int]] = {}  # by host: the hoisted buffers that are there

    def send(self, handle: WorkerHandle, submissions: Sequence[Submission]) -> None:
        """Send tasks to a worker that has room for them. Blocks: while large arguments are copied."""
        while self._buffers.dropped:
            number = self._buffers.dropped.popleft()
            self._have_dropped(worker.DROP, number, lambda each: each.buffers)
        records: list[tuple[Any, ...]] = []
        try:
            for submission in submissions:
                function, packed = submission.function, submission.packed
                if function not in handle.functions:
                    body = self._functions.body(function)
                    self._provide(handle, body.needs(), records)
                    handle.functions.add(function)
                    records.append((worker.FUNCTION, function, 0, *body.sent()))
                if not (packed.buffers or packed.shares):
                    records.append((submission.kind, submission.number, function, packed.body, ()))
                    continue
                self._provide(handle, packed.needs(), records)
                records.append((submission.kind, submission.number, function, *packed.sent()))
                handle.send(
                    records
                )  # separately, so that the worker drops each task's buffers with the task
                records = []
            if records:
                handle.send(records)
        except GONE:
            pass  # the receiving side will notice that the worker has ended

    def _provide(
        self, handle: WorkerHandle, buffers: list[Hoisted], records: list[tuple[Any, ...]]
    ) -> None:
        """Add the hoisted buffers that the worker's host lacks."""
        for buffer in buffers:
            if buffer.number in handle.buffers:
                continue
            handle.buffers.add(buffer.number)
            here = handle.host == self._buffers.host
            if not here and buffer.number not in self._present.get(handle.host, ()):
                records.append((worker.BUFFER, buffer.number, 0, b"", [buffer.memory]))

    def ended(self, handle: WorkerHandle) -> None:
        """Note that a worker has ended. A host may be a new one when it is used again."""
        self.handles.pop(handle.number, None)
        if all(other.host != handle.host for other in self.handles.values()):
            self._present.pop(handle.host, None)

    def has_buffer(self, handle: WorkerHandle, number: int) -> None:
        """Note that all workers on this worker's host can now see a hoisted buffer."""
        self._present.setdefault(handle.host, set()).add(number)

    def release(self, function: int) -> None:
        """Release the function of a finished task; tell workers which functions to forget."""
        for forgotten in self._functions.release(function):
            self._have_dropped(worker.FORGET, forgotten, lambda handle: handle.functions)

    def _have_dropped(self, kind: int, number: int, held: Callable[[WorkerHandle], set[int]]) -> None:
        """Tell the workers that hold this function or buffer to drop it."""
        for handle in self.handles.values():
            if number in held(handle):
                held(handle).discard(number)
                try:
                    handle.send([(kind, number, 0, b"", ())])
                except GONE:
                    continue  # it has ended
