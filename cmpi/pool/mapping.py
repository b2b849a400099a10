"""`ProcessPool.map`: reads its input as results are taken, and sends it in chunks of measured size."""

from __future__ import annotations

import itertools
import operator
import queue
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from cmpi._core.pool.chunks import ChunkSizer
from cmpi.pool.worker import exception

if TYPE_CHECKING:
    from cmpi.pool.future import PoolFuture

CHUNKS_PER_WORKER = 3  # in flight, so that a worker already has its next chunk when it finishes one


class Mapping:
    """One call of `map`. Not thread-safe.

    Args:
        submit: Makes a task from items, and a bool: whether each item is a tuple of arguments.
        iterables: The input.
        workers: The number of workers.
        timeout: See `ProcessPool.map`.
        chunksize: See `ProcessPool.map`.
        buffersize: See `ProcessPool.map`.
        ordered: See `ProcessPool.map`.
    """

    def __init__(
        self,
        submit: Callable[[list[Any], bool], PoolFuture],
        iterables: tuple[Iterable[Any], ...],
        workers: int,
        timeout: float | None,
        chunksize: int | None,
        buffersize: int | None,
        ordered: bool,
    ) -> None:
        self._submit, self._workers, self._buffersize, self._ordered = submit, workers, buffersize, ordered
        self._end_s = None if timeout is None else time.monotonic() + timeout
        self._several = len(iterables) != 1
        self._items: Iterator[Any] = zip(*iterables) if self._several else iter(iterables[0])
        lengths = [operator.length_hint(each, -1) for each in iterables]
        self.total = min(lengths, default=0) if -1 not in lengths else None
        self._sizer = ChunkSizer(workers, self.total, chunksize)
        self._under_way: dict[PoolFuture, int] = {}  # chunks in the order of their items, with their sizes
        self._ready: queue.SimpleQueue[PoolFuture] = queue.SimpleQueue()
        self._buffered = 0  # items that were read but whose results were not taken
        self._exhausted = False
        self._fill()

    def __iter__(self) -> Iterator[Any]:
        try:
            while self._under_way:
                future = self._next()
                size = self._under_way.pop(future)
                results, fault, elapsed_s = future.result()
                self._sizer.measured(len(results), elapsed_s, future._nbytes)
                del future
                self._fill()
                results.reverse()
                while results:
                    yield results.pop()
                if fault is not None:
                    raise exception(*fault)
                self._buffered -= size
                self._fill()
        except KeyboardInterrupt:
            for future in self._under_way:
                future.kill()
            raise
        finally:
            for future in self._under_way:
                future.cancel()

    def shown(self, label: str) -> Iterator[Any]:
        """Yield the results with a progress bar on stderr, drawn by tqdm if it is installed."""
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return self._counted(label)
        shown: Iterator[Any] = iter(tqdm(iter(self), desc=label, total=self.total))
        return shown

    def _counted(self, label: str) -> Iterator[Any]:
        """A line that is rewritten at most ten times a second."""
        of = "" if self.total is None else f" of {self.total}"
        shown_s, n = 0.0, 0
        for n, result in enumerate(self, 1):
            if time.monotonic() >= shown_s + 0.1:
                shown_s = time.monotonic()
                print(f"\r{label}: {n}{of}", end="", file=sys.stderr, flush=True)
            yield result
        print(f"\r{label}: {n}{of}", file=sys.stderr, flush=True)

    def _fill(self) -> None:
        """Send as many chunks as the workers need and the buffer allows."""
        while not self._exhausted and len(self._under_way) < CHUNKS_PER_WORKER * self._workers:
            size = self._sizer.next_size()
            if self._buffersize is not None:
                size = min(size, self._buffersize - self._buffered)
                if size < 1:
                    return
            items = list(itertools.islice(self._items, size))
            if not items:
                self._exhausted = True
                return
            self._sizer.taken(len(items))
            self._buffered += len(items)
            future = self._submit(items, self._several)
            self._under_way[future] = len(items)
            if not self._ordered:
                future.add_done_callback(self._ready.put)  # type: ignore[arg-type]

    def _next(self) -> PoolFuture:
        """The chunk whose results are next. Raises: TimeoutError."""
        left_s = None if self._end_s is None else max(0.0, self._end_s - time.monotonic())
        if self._ordered:
            future = next(iter(self._under_way))
            future.exception(left_s)  # waits for the chunk
            return future
        try:
            return self._ready.get(timeout=left_s)
        except queue.Empty:
            raise TimeoutError from None


async def amap(results: Iterator[Any]) -> AsyncIterator[Any]:
    """Yield the results in an event loop, without blocking it."""
    import asyncio

    missing = object()
    try:
        while (value := await asyncio.to_thread(next, results, missing)) is not missing:
            yield value
    finally:
        results.close()  # type: ignore[attr-defined]
