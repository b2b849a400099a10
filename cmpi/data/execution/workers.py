"""Where tasks run: on a pool, on any executor like those of the standard library, or in this process."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

from cmpi.data.sources.channel_rows import Later
from cmpi.errors import NotRunning
from cmpi.pool.executor import ProcessPool
from cmpi.pool.future import PoolFuture

TASKS_PER_WORKER = 3  # in flight, so that a worker already has its next task when it finishes one
POLL_S = 0.01  # how often to look for results while waiting for a message, if tasks are under way
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


def results(
    pool: Executor, retries: int, task: Callable[[Any], Any], arguments: Iterable[Any]
) -> Iterator[Any]:
    """Yield the task's result for each argument, in order. Only as many arguments are read as keep the
    workers busy. For a `Later` among them, first come the results that are there.

    Closing the generator ends the running tasks, and so does an exception of a task.
    """
    if isinstance(pool, ProcessPool):
        submit: Callable[..., Future[Any]] = pool.options(retries=retries).submit
        window = TASKS_PER_WORKER * pool.max_workers
    else:
        submit = pool.submit
        window = 1 if isinstance(pool, Serial) else TASKS_PER_WORKER * (os.cpu_count() or 1)
    under_way: deque[Future[Any]] = deque()
    try:
        for argument in arguments:
            if isinstance(argument, Later):
                while under_way and (argument.final or under_way[0].done()):
                    yield _first(under_way)
                if not argument.final:
                    argument.wait(POLL_S if under_way else None)
                continue
            under_way.append(submit(task, argument))
            if len(under_way) >= window:
                yield _first(under_way)
        while under_way:
            yield _first(under_way)
    finally:
        _end(under_way)


def _first(futures: deque[Future[Any]]) -> Any:
    """Wait for the first future; remove it and return its result. Blocks: for that."""
    result = futures[0].result()
    futures.popleft()
    return result


def _end(futures: Iterable[Future[Any]]) -> None:
    """Cancel or kill tasks, and wait until none is running, because they write files."""
    running = [future for future in futures if not future.cancel()]
    for future in running:
        if isinstance(future, PoolFuture):
            future.kill()
    for future in running:
        future.exception()
