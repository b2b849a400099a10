"""`ProcessPool`: an executor whose workers survive each other's deaths."""

from __future__ import annotations

import atexit
import concurrent.futures
import itertools
import os
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from cmpi.errors import NotRunning, UsageError, WrongValue
from cmpi.identifiers import Resources
from cmpi.pool import worker
from cmpi.pool.functions import Functions
from cmpi.pool.future import PoolFuture
from cmpi.pool.groups import WorkerGroups
from cmpi.pool.mapping import Mapping, amap
from cmpi.pool.options import Options, PoolStatistics, TaskOptions
from cmpi.pool.shared import SharedBuffers, SharedObject
from cmpi.pool.submitting import Submitter, label_of
from cmpi.processes import process

_pools = itertools.count()
_open: weakref.WeakSet[ProcessPool] = weakref.WeakSet()
_DEFAULTS = Options()


class ProcessPool(concurrent.futures.Executor):
    """Worker processes that run functions: a `concurrent.futures.Executor`.

    Args:
        max_workers: The number of workers. None: as many as the job has cores.
        minimum: If given, the pool starts with this many workers, grows up to `max_workers` while tasks
            wait, and ends workers that were idle for 10 seconds.
        resources: What each worker needs: see `Resources`.
        initializer: A function that each worker calls first, with `initargs`.
        initargs: The arguments of `initializer`.
        max_tasks_per_child: Replace a worker after this many tasks. None: never.
        max_pending: `submit` blocks while this many tasks are unfinished. None: it never blocks.

    Raises:
        WrongValue: A number is less than 1.
        NotRunning: This process is not part of a job.

    The death of a worker affects only the task that it ran: the task is tried again on another worker (see
    `options`) or raises `WorkerDied`, and a new worker replaces the dead one. Functions, lambdas and
    closures are sent by value; each worker gets a function once, in its state at the first submission.

    The end of its `with` block waits for the tasks; an exception that leaves the block ends them.
    Thread-safe. Source: `concurrent.futures.ProcessPoolExecutor`; Constellation's process pool.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        minimum: int | None = None,
        resources: Resources | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        max_tasks_per_child: int | None = None,
        max_pending: int | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = max(1, int(process.capacity().total.cpus))
        for what, number in (
            ("max_workers", max_workers),
            ("minimum", minimum),
            ("max_tasks_per_child", max_tasks_per_child),
            ("max_pending", max_pending),
        ):
            if number is not None and (not isinstance(number, int) or number < 1):
                raise WrongValue(f"{what} must be greater than 0; found {number!r}")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        name = f"cmpi-pool-{next(_pools)}"
        sizes = (max_workers if minimum is None else min(minimum, max_workers), max_workers)
        self._owner = os.getpid()
        self._buffers = SharedBuffers(name)
        functions = Functions(self._buffers)
        setup = (initializer, initargs)
        self._groups = WorkerGroups(
            name, sizes, resources, setup, max_tasks_per_child, functions, self._buffers
        )
        self._submitter = Submitter(functions, self._buffers, max_pending)
        self._closed = False  # from now on, `__del__` has something to close
        if not _open:
            atexit.register(_shut_down_all)
        _open.add(self)
        self._groups.main.begin()

    # -- tasks ---------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> PoolFuture:
        """Run `fn(*args, **kwargs)` in a worker.

        Returns:
            The task's future. If something cannot be pickled, the future raises `NotPicklable`.

        Raises:
            RuntimeError: The pool was shut down.

        Blocks: while `max_pending` tasks are unfinished; otherwise only while it pickles.
        """
        return self._submit(_DEFAULTS, fn, args, kwargs)

    def options(
        self,
        *,
        retries: int = 0,
        timeout: float | None = None,
        resources: Resources | None = None,
        ranks: int = 1,
        retry_exceptions: type[BaseException] | tuple[type[BaseException], ...] = (),
    ) -> TaskOptions:
        """Return this pool with other options: `pool.options(retries=3).submit(f, x)`.

        Args:
            retries: How often a task is tried again if its worker dies, after growing pauses.
            timeout: The longest time that a task may run, in seconds; then its worker is killed, and the
                future raises TimeoutError.
            resources: What the task needs, if that differs from the pool's: separate workers are started
                for such tasks, and end when they are idle.
            ranks: Run the task as an MPI world of this many processes: each calls the function, and the
                result is that of rank 0.
            retry_exceptions: Also try the task again after these exceptions, within `retries`.

        Blocks: never.
        """
        if retries < 0 or ranks < 1 or (timeout is not None and timeout <= 0):
            raise UsageError(
                "retries must be 0 or more, ranks 1 or more, and timeout > 0 seconds; found "
                f"retries={retries!r}, ranks={ranks!r}, timeout={timeout!r}"
            )
        kinds = retry_exceptions if isinstance(retry_exceptions, tuple) else (retry_exceptions,)
        return TaskOptions(self, Options(retries, timeout, resources, ranks, kinds))

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        ordered: bool = True,
        progress: str | bool = False,
    ) -> Iterator[Any]:
        """Call `fn` for each item in the workers, like the built-in `map`.

        Args:
            fn: The function.
            iterables: The arguments. They are read as results are taken, not all at once.
            timeout: Raise TimeoutError if a result is not available this many seconds after this call.
            chunksize: How many items go into one task. None: as many as take about 20 ms, as measured.
            buffersize: The most items that are read ahead of the results taken. None: enough to keep the
                workers busy.
            ordered: If False, results come as soon as they are ready.
            progress: True or a label: show a progress bar on stderr.

        Returns:
            An iterator over the results. The first tasks are sent at once.

        Raises:
            Whatever `fn` raises, in place of that item's result. Closing the iterator cancels tasks that
            have not begun; a KeyboardInterrupt also ends running ones.

        Blocks: for the first items; the iterator for each result.
        Source: `concurrent.futures.Executor.map`; sizes of chunks: see `cmpi/_core/pool/chunks.py`.
        """
        return self._map(_DEFAULTS, fn, iterables, timeout, chunksize, buffersize, ordered, progress)

    async def asubmit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Submit a task and await its result, in an event loop. Cancelling also ends a running task."""
        return await self._asubmit(_DEFAULTS, fn, args, kwargs)

    def amap(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], ordered: bool = True, **options: Any
    ) -> AsyncIterator[Any]:
        """As `map`, in an event loop: `async for y in pool.amap(f, xs)`."""
        return amap(self._map(_DEFAULTS, fn, iterables, ordered=ordered, **options))

    def share(self, value: object) -> SharedObject:
        """Put the arrays in a value (and other objects with buffers) into shared memory, once per host.

        Returns:
            An object to give to tasks in place of the value, as an argument or captured by a function. A
            task gets the value itself, whose arrays lie in shared memory and are read-only.

        Captured arrays are shared automatically, and so is an array of 1 MiB or more that is an argument
        of a second task, as long as it is not changed. The memory is freed with the last reference to the
        object, or with the pool. Without shared memory, each worker has its own copy.

        Raises: NotPicklable. Blocks: for one copy.
        """
        self._check_owner()
        return self._buffers.share(value)

    @property
    def max_workers(self) -> int:
        """The largest number of workers, which `resize` changes. Blocks: never."""
        return self._groups.sizes[1]

    # -- the pool itself -----------------------------------------------------------------------

    def resize(self, max_workers: int, minimum: int | None = None) -> None:
        """Change the number of workers. Surplus workers end after the tasks that they have.

        Blocks: never.
        """
        if max_workers < 1:
            raise WrongValue(f"a pool needs 1 worker or more; found {max_workers!r}")
        self._check_owner()
        self._groups.resize(max_workers if minimum is None else minimum, max_workers)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more tasks, and end the workers when all tasks are finished.

        Args:
            wait: Return only when all workers have ended.
            cancel_futures: Cancel the tasks that no worker has begun.

        Blocks: if `wait`, until then. Calling it again does nothing.
        """
        self._check_owner()
        self._closed = True
        groups = self._groups.all()
        if cancel_futures:
            for group in groups:
                for future in group.waiting():
                    future.cancel()
        for group in groups:
            group.close()
        if wait:
            for group in groups:
                group.join()
            self._groups.answers.stop()
            self._buffers.close()
            _open.discard(self)

    def kill(self) -> None:
        """End all tasks and workers now: the futures raise `TaskKilled`. Blocks: until all have ended."""
        self._check_owner()
        self._closed = True
        for group in self._groups.all():
            group.kill_all()
        self.shutdown()

    def statistics(self) -> PoolStatistics:
        """Return counts of the pool's past and present work. Blocks: never."""
        return self._groups.statistics()

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None:
            self.shutdown()
        else:
            self.kill()

    async def __aenter__(self) -> ProcessPool:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """As the end of `with`, without blocking the event loop."""
        import asyncio

        await asyncio.to_thread(self.__exit__, kind, error, trace)

    def __repr__(self) -> str:
        state = " (shut down)" if self._closed else ""
        return f"<ProcessPool{state}: {self.statistics()}>"

    def _repr_html_(self) -> str:
        return self.statistics()._repr_html_()

    def __reduce__(self) -> Any:
        raise TypeError(
            "a ProcessPool belongs to its process and cannot be sent to another one; create a new pool in "
            "a task that needs one"
        )

    # -- implementation ------------------------------------------------------------------------

    def _check_owner(self) -> None:
        if os.getpid() != self._owner:
            raise NotRunning(
                "this pool belongs to the process that forked this one; create a new pool here"
            )

    def _submit(
        self, options: Options, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> PoolFuture:
        return self._task(options, worker.TASK, fn, (args, kwargs), label_of(fn))

    def _task(
        self, options: Options, kind: int, fn: Callable[..., Any], arguments: tuple[Any, Any], label: str
    ) -> PoolFuture:
        self._check_owner()
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        group = self._groups.main if options is _DEFAULTS else self._groups.of(options)
        return self._submitter.submit(group, options, kind, fn, arguments, label)

    def _map(
        self,
        options: Options,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        ordered: bool = True,
        progress: str | bool = False,
    ) -> Iterator[Any]:
        for what, number in (("chunksize", chunksize), ("buffersize", buffersize)):
            if number is not None and (not isinstance(number, int) or number < 1):
                raise ValueError(f"{what} must be at least 1; found {number!r}")
        label = label_of(fn)

        def submit(items: list[Any], several: bool) -> PoolFuture:
            return self._task(options, worker.CHUNK, fn, (items, several), f"{len(items)} calls of {label}")

        mapping = Mapping(submit, iterables, self._groups.sizes[1], timeout, chunksize, buffersize, ordered)
        return mapping.shown(label if progress is True else progress) if progress else iter(mapping)

    async def _asubmit(
        self, options: Options, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        import asyncio

        future = self._submit(options, fn, args, kwargs)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.kill()
            raise

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self._closed = True
            for group in self._groups.all():
                group.close()


def _shut_down_all() -> None:
    """At the end of the process, shut down all pools, as `concurrent.futures` does."""
    for pool in list(_open):
        pool.shutdown()
