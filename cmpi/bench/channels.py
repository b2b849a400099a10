"""Times a channel between two spawned processes, compared with raw mpi4py between the same two, and with
pipes."""

from __future__ import annotations

import importlib.util
import multiprocessing
import time
from collections.abc import Iterator
from typing import Any

from cmpi.bench.common import Row, in_a_job

RUNS = 11
ARRAY_BYTES = 8 << 20


def run(name: str, runs: int) -> Iterator[Row]:
    """Rows of the table."""
    runs = runs or RUNS
    if name == "tensor" and importlib.util.find_spec("torch") is None:
        return
    found = in_a_job("cmpi.bench.jobs.pair", name, runs)
    if name == "pingpong":
        what = "ping-pong, small object"
        yield Row(what, found["cmpi"], "us", "mpi4py send/recv", found["raw"], "at most 2.0")
        yield Row("  the same", found["cmpi"], "us", "multiprocessing.Pipe", found["pipe"], "at most 0.33")
    elif name == "rate":
        what = "one way, small objects"
        yield Row(what, found["cmpi"], "k/s", "mpi4py send/recv", found["raw"], "at least 1.0")
        yield Row("  the same", found["cmpi"], "k/s", "multiprocessing.Pipe", found["pipe"])
    elif name == "stream":
        queue = _queue_bandwidth(runs)
        what = "stream of 8 MiB arrays"
        yield Row(what, found["cmpi"], "GB/s", "memcpy", found["memcpy"], "at least 0.8")
        yield Row("  with loan", found["loan"], "GB/s", "memcpy", found["memcpy"], "above 1.0")
        yield Row("  the same", found["cmpi"], "GB/s", "mpi4py Send/Recv", found["raw"], "at least 2.0")
        yield Row("  the same", found["cmpi"], "GB/s", "multiprocessing.Queue", queue, "at least 10")
    elif name == "tensor":
        what = "stream of 8 MiB tensors (torch)"
        yield Row(what, found["torch"], "GB/s", "numpy arrays", found["numpy"], "at least 0.8")
    elif name == "dict":
        what = "dict of arrays, 1 MiB"
        yield Row(what, found["cmpi"], "us", "mpi4py pkl5", found["raw"], "at most 1.0")
    else:
        what = "wake-up of a blocked receiver, p50"
        yield Row(what, found["cmpi"], "us", "mpi4py recv, which spins", found["raw"])


def _sink(queue: Any, n: int, done: Any) -> None:
    for _ in range(n):
        queue.get()
    done.put(0)


def _queue_bandwidth(runs: int) -> float:
    """GB/s of arrays through a `multiprocessing.Queue`."""
    import numpy as np

    context = multiprocessing.get_context("fork")
    queue, done = context.Queue(), context.Queue()
    array = np.ones(ARRAY_BYTES // 8)
    process = context.Process(target=_sink, args=(queue, runs + 1, done))
    process.start()
    queue.put(array)
    started = time.perf_counter()
    for _ in range(runs):
        queue.put(array)
    done.get()
    took = time.perf_counter() - started
    process.join()
    return runs * ARRAY_BYTES / took / 1e9
