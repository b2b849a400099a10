"""Where tasks run: on a pool, on any executor like those of the standard library, or in this process."""

from __future__ import annotations

import concurrent.futures
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from cmpi.data.errors import Misplaced
from cmpi.data.execution.store import ATTEMPTS, Store
from cmpi.data.sources.channel_rows import Later
from cmpi.errors import NotRunning
from cmpi.pool.executor import ProcessPool
from cmpi.pool.future import PoolFuture

TASKS_PER_WORKER = 3  # in flight, so that a worker already has its next task when it finishes one
POLL_S = 0.01  # how often to look for results while waiting for a message, if tasks are under way
MEND_S = 0.05  # how often to look for tasks that do not find files, while waiting for an earlier one
_of_process: tuple[int, ProcessPool] | None = None


class Serial(Executor):
    """Runs tasks in this process, one after another: for tests, for debugging, and outside a job."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run the function now. Blocks: until it has returned or raised."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def pool_of_process() -> ProcessPool:
    """Return the default pool for streams. Each process has one, created when it is first needed.

    Raises:
        NotRunning: This process is not part of a job.
    """
    global _of_process
    if _of_process is None or _of_process[0] != os.getpid() or _of_process[1]._closed:
        try:
            _of_process = os.getpid(), ProcessPool()
        except NotRunning as error:
            raise NotRunning(
                f"{error} To run a stream in this process alone: stream.options(pool=data.Serial())"
            ) from error
    return _of_process[1]


class _Task:
    """A task for one argument."""

    def __init__(self, argument: Any) -> None:
        self.argument, self.attempts = argument, 0
        self.future: Future[Any] = Future()


class Running:
    """Runs one task for many arguments, of which several are under way at a time.

    Args:
        pool: What runs it.
        retries: How often a task is run again after its worker died.
        task: A function of an argument and the places of the job's files.
        store: The job's files. What tasks do not find of them is provided, and the tasks run again.
        spills: Whether the results have blocks in them, which are made again if their host is lost.
    """

    def __init__(self, pool: Executor, retries: int, task: Any, store: Store, spills: bool = False) -> None:
        self._pool, self._retries, self._task, self._store = pool, retries, task, store
        self._spills = spills
        if isinstance(pool, ProcessPool):
            self._submit: Callable[..., Future[Any]] = pool.options(retries=retries).submit
            self._window = TASKS_PER_WORKER * pool.max_workers
        else:
            self._submit = pool.submit
            self._window = 1 if isinstance(pool, Serial) else TASKS_PER_WORKER * (os.cpu_count() or 1)
        self._under_way: deque[_Task] = deque()
        self._misplaced: SimpleQueue[_Task] = SimpleQueue()

    def results(self, arguments: Iterable[Any]) -> Iterator[Any]:
        """Yield the task's result for each argument, in order. Only as many arguments are read as keep the
        workers busy. For a `Later` among them, first come the results that are there.

        Closing the generator ends the running tasks, and so does an exception of a task.
        """
        under_way = self._under_way
        try:
            for argument in arguments:
                if isinstance(argument, Later):
                    while under_way and (argument.final or under_way[0].future.done()):
                        yield self._first()
                    if not argument.final:
                        argument.wait(POLL_S if under_way else None)
                    continue
                under_way.append(_Task(argument))
                self._submit_again(under_way[-1])
                if len(under_way) >= self._window:
                    yield self._first()
            while under_way:
                yield self._first()
        finally:
            _end([task.future for task in under_way])

    def _submit_again(self, task: _Task) -> None:
        """Submit a task, for the first time or again."""
        task.attempts += 1
        task.future = self._submit(self._task, (self._store.current(task.argument), self._store.places()))
        task.future.add_done_callback(lambda _: self._note(task))

    def _note(self, task: _Task) -> None:
        if not task.future.cancelled() and isinstance(task.future.exception(), Misplaced):
            self._misplaced.put(task)

    def _first(self) -> Any:
        """Wait for the first task; remove it and return its result. Blocks: for that."""
        first = self._under_way[0]
        limit_s = MEND_S if self._store.is_open else None
        while True:
            self._mend()
            try:
                result = first.future.result(limit_s)
                break
            except concurrent.futures.TimeoutError:
                if first.future.done():
                    raise
            except Misplaced:
                if first.attempts == ATTEMPTS:
                    raise
        self._under_way.popleft()
        if self._spills:
            self._store.record(self._task, first.argument, result[0])
        return result

    def _mend(self) -> None:
        """Run tasks again that have not found the files of their job."""
        with suppress(Empty):
            while True:
                task = self._misplaced.get_nowait()
                error = task.future.exception()
                assert isinstance(error, Misplaced)
                if task.attempts < ATTEMPTS:
                    self._store.mend(error, self.again)
                    self._submit_again(task)

    def again(self, store: Store, task: Callable[[Any], Any], arguments: list[Any]) -> Iterator[Any]:
        """The results of a task of this job or of a persisted stream, whose files are in that store."""
        for result in Running(self._pool, self._retries, task, store, spills=True).results(arguments):
            yield result[0]


def _end(futures: Iterable[Future[Any]]) -> None:
    """Cancel or kill tasks, and wait until none is running, because they write files."""
    running = [future for future in futures if not future.cancel()]
    for future in running:
        if isinstance(future, PoolFuture):
            future.kill()
    for future in running:
        future.exception()
