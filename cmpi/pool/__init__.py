"""A pool of worker processes: a `concurrent.futures.Executor` that survives the deaths of its workers."""

from cmpi.pool.errors import PoolBroken, TaskKilled, WorkerDied
from cmpi.pool.executor import ProcessPool
from cmpi.pool.future import PoolFuture
from cmpi.pool.options import PoolStatistics, TaskOptions

__all__ = [
    "PoolBroken",
    "PoolFuture",
    "PoolStatistics",
    "ProcessPool",
    "TaskKilled",
    "TaskOptions",
    "WorkerDied",
]
