"""Options of tasks, and statistics of pools."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from cmpi._base import html
from cmpi._base.frozen import frozen, replace
from cmpi.identifiers import Resources
from cmpi.pool.mapping import amap

if TYPE_CHECKING:
    from typing import Protocol

    from cmpi.pool.future import PoolFuture

    class RunsTasks(Protocol):
        """A pool, as its options see it."""

        def _submit(
            self, options: Options, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> PoolFuture: ...

        @property
        def _map(self) -> Callable[..., Iterator[Any]]: ...

        async def _asubmit(
            self, options: Options, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any: ...


@frozen
class Options:
    """The options of a task: see `ProcessPool.options`."""

    retries: int = 0
    timeout: float | None = None
    resources: Resources | None = None
    ranks: int = 1
    retry_exceptions: tuple[type[BaseException], ...] = ()


@frozen
class PoolStatistics:
    """Counts of a pool's past and present work.

    Attributes:
        workers: Number of processes that take tasks, including those that are starting.
        waiting: Number of tasks that no worker has yet.
        running: Number of tasks that workers have.
        completed: Number of tasks that were answered.
        deaths: Number of workers that ended without being asked to.
        average_s: Mean duration of the tasks, in seconds, weighted towards the latest. 0.0 if none has
            ended.
    """

    workers: int
    waiting: int
    running: int
    completed: int
    deaths: int
    average_s: float

    def __str__(self) -> str:
        return (
            f"{self.workers} workers, {self.running} tasks running, {self.waiting} waiting, "
            f"{self.completed} done, {self.deaths} deaths"
        )

    def _repr_html_(self) -> str:
        names = ("workers", "running", "waiting", "completed", "deaths")
        return html.table("ProcessPool", {name: getattr(self, name) for name in names})


class TaskOptions:
    """A pool with options for its tasks, which `pool.options(...)` creates. It has the pool's methods."""

    def __init__(self, pool: RunsTasks, options: Options) -> None:
        self._pool, self._options = pool, options

    def options(self, **changes: Any) -> TaskOptions:
        """Return the pool with some options changed."""
        return TaskOptions(self._pool, replace(self._options, **changes))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> PoolFuture:
        """See `ProcessPool.submit`."""
        return self._pool._submit(self._options, fn, args, kwargs)

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **keywords: Any) -> Iterator[Any]:
        """See `ProcessPool.map`."""
        return self._pool._map(self._options, fn, iterables, **keywords)

    async def asubmit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """See `ProcessPool.asubmit`."""
        return await self._pool._asubmit(self._options, fn, args, kwargs)

    def amap(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], **keywords: Any
    ) -> AsyncIterator[Any]:
        """See `ProcessPool.amap`."""
        return amap(self._pool._map(self._options, fn, iterables, **keywords))
