"""The program of the benchmark `pool`.

cmpirun python -m cmpi.bench.jobs.pool_work RUNS

Every executor does the same work in turn, RUNS times; medians are printed as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

import cmpi

WORKERS = 2
ARRAY = 256 << 20
RESULT = 8 << 20


def trivial(x: int) -> int:
    """A task that consists only of overhead."""
    return x + 1


def sleep(seconds: float) -> None:
    """A task of known length that needs no core."""
    time.sleep(seconds)


def large(x: int) -> Any:
    """A task with a large result."""
    return np.full(RESULT // 8, float(x))


def identity(x: int) -> int:
    """The pid of the worker process."""
    time.sleep(0.02)
    return os.getpid()


def die_once(path: str) -> float:
    """Kill this process at the first run; at the second, return the time."""
    if not os.path.exists(path):
        with open(path, "w") as file:
            file.write(str(time.monotonic()))
        os.kill(os.getpid(), 9)
    return time.monotonic()


def _loky(n: int) -> Executor:
    executor: Executor = importlib.import_module("loky").ProcessPoolExecutor(n)
    return executor


def _mpi4py(n: int) -> Executor:
    executor: Executor = importlib.import_module("mpi4py.futures").MPIPoolExecutor(n)
    return executor


def _dask(n: int) -> Executor:
    distributed = importlib.import_module("distributed")
    client = distributed.Client(n_workers=n, threads_per_worker=1, dashboard_address=None)
    executor: Executor = client.get_executor(pure=False)
    return executor


class _Ray(Executor):
    """The part of an executor's interface that is needed here, on Ray."""

    def __init__(self, n: int) -> None:
        self._ray = importlib.import_module("ray")
        self._ray.init(num_cpus=n, include_dashboard=False, log_to_driver=False)
        self._remote: dict[Any, Any] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if fn not in self._remote:
            self._remote[fn] = self._ray.remote(fn)
        future: Future[Any] = self._remote[fn].remote(*args, **kwargs).future()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._ray.shutdown()


MAKERS: dict[str, Callable[[int], Executor]] = {
    "cmpi": cmpi.ProcessPool,
    "ProcessPoolExecutor": ProcessPoolExecutor,
    "mpi4py.futures": _mpi4py,
    "loky": _loky,
    "Dask": _dask,
    "Ray": _Ray,
}


@contextmanager
def timed(times: list[float]) -> Iterator[None]:
    """Append the seconds that the block took to the list."""
    start_s = time.perf_counter()
    yield
    times.append(time.perf_counter() - start_s)


def rates(pools: dict[str, Executor], runs: int) -> dict[str, dict[str, float]]:
    """Tasks per second of executors that are already up."""
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(runs):
        for name, pool in pools.items():
            with timed(times["submit"][name]):
                for future in [pool.submit(trivial, i) for i in range(5000)]:
                    future.result()
            with timed(times["one by one"][name]):
                for i in range(1000):
                    pool.submit(trivial, i).result()
            if name in ("cmpi", "ProcessPoolExecutor"):
                chunks = {} if name == "cmpi" else {"chunksize": 1000}
                with timed(times["map"][name]):
                    assert sum(pool.map(trivial, range(100_000), **chunks)) == 5000050000
                with timed(times["large results"][name]):
                    for result in pool.map(large, range(200)):
                        assert result[0] == result[-1]
    of = {"submit": 5, "one by one": 1, "map": 100, "large results": 200}
    return {
        key: {name: of[key] / statistics.median(each) for name, each in by_name.items()}
        for key, by_name in times.items()
    }


def mixed(pool: Executor) -> dict[str, float]:
    """The time for tasks of random lengths, and what it would be without any overhead."""
    choice = random.Random(1)
    lengths = [choice.uniform(0.0001, 0.05) for _ in range(1000)]
    took: list[float] = []
    with timed(took):
        for future in [pool.submit(sleep, length) for length in lengths]:
            future.result()
    return {"cmpi": took[0], "ideal": sum(lengths) / WORKERS}


def captured(pool: cmpi.ProcessPool) -> dict[str, float]:
    """The time for tasks that all read one large array."""
    array = np.ones(ARRAY // 8)
    took: list[float] = []

    def look(i: int) -> float:
        return float(array[i])

    with timed(took):
        assert sum(pool.map(look, range(200), chunksize=1)) == 200
    times = {"cmpi": took[0]}
    try:
        joblib = importlib.import_module("joblib")
    except ImportError:
        return times
    with timed(took):
        tasks = (joblib.delayed(_item)(array, i) for i in range(200))
        assert sum(joblib.Parallel(WORKERS, backend="loky", batch_size=1)(tasks)) == 200
    return times | {"loky": took[1]}


def _item(array: Any, i: int) -> float:
    return float(array[i])


def up(make: Callable[[int], Executor]) -> float:
    """Milliseconds until 8 workers have answered."""
    took: list[float] = []
    with timed(took):
        pool = make(8)
        seen: set[int] = set()
        while len(seen) < 8:
            seen |= {future.result() for future in [pool.submit(identity, i) for i in range(16)]}
    pool.shutdown()
    return took[0] * 1000


def restart(pool: cmpi.ProcessPool, runs: int) -> float:
    """Milliseconds from the death of a worker until its task is running again, not counting the pause
    before a retry."""
    took: list[float] = []
    for i in range(runs):
        path = f"/tmp/cmpi-bench-{os.getpid()}-{i}"
        try:
            again_s = pool.options(retries=1).submit(die_once, path).result()
            with open(path) as file:
                took.append(again_s - float(file.read()))
        finally:
            os.unlink(path)
    return statistics.median(took) * 1000


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1])
    pools: dict[str, Executor] = {}
    for name, make in MAKERS.items():
        try:
            pools[name] = make(WORKERS)
            pools[name].submit(trivial, 1).result()
        except ImportError:
            continue
    found: dict[str, Any] = rates(pools, runs)
    ours = pools["cmpi"]
    assert isinstance(ours, cmpi.ProcessPool)
    found["mixed"] = mixed(ours)
    found["captured"] = captured(ours)
    found["restart"] = {"cmpi": restart(ours, runs)}
    for pool in pools.values():
        pool.shutdown()
    found["up"] = {name: up(MAKERS[name]) for name in pools}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
