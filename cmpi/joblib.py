"""joblib on cmpi's processes: `import cmpi.joblib`, then `with joblib.parallel_config("cmpi", n_jobs=8):
...`

scikit-learn and everything else that uses joblib then runs its tasks in a `ProcessPool`, on all hosts of
the job. An array that several tasks use is kept in shared memory only once (see `ProcessPool.share`).
"""

from __future__ import annotations

from typing import Any

import joblib
from joblib._parallel_backends import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
)

from cmpi.pool import PoolFuture, ProcessPool
from cmpi.processes.process import capacity

_pools: dict[int, ProcessPool] = {}  # by number of workers; kept for later calls


class CmpiBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """The joblib backend "cmpi". Source: joblib's documentation, "Custom backend API"."""

    supports_retrieve_callback = True
    default_n_jobs = -1

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many tasks run in parallel: `n_jobs`, or the number of the job's cores."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(1, int(capacity().total.cpus) + 1 + n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Prepare for the tasks of one Parallel call."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._futures: set[PoolFuture] = set()
        self._pool = _pools.get(n_jobs) or _pools.setdefault(n_jobs, ProcessPool(n_jobs))
        return n_jobs

    def submit(self, func: Any, callback: Any = None) -> PoolFuture:
        """Run a batch of calls."""
        future = self._pool.submit(func)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: PoolFuture) -> Any:
        """Return the results of a batch that has ended."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End the running tasks, because one call has failed."""
        for future in list(self._futures):
            future.kill()

    def terminate(self) -> None:
        """Called after a Parallel call; the workers are kept for the next."""


joblib.register_parallel_backend("cmpi", CmpiBackend)
