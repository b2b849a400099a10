"""Times `ProcessPool` and, in turn, the executors of the standard library, mpi4py, joblib, Dask and Ray.

Each has two workers; libraries that are not installed are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from cmpi.bench.common import Row, in_a_job

RUNS = 5
LIMITS = {
    "submit": {"mpi4py.futures": "at least 3", "ProcessPoolExecutor": "at least 2"},
    "one by one": {"ProcessPoolExecutor": "at least 3"},
    "map": {"ProcessPoolExecutor": "at least 1.0"},
    "large results": {"ProcessPoolExecutor": "at least 5"},
    "captured": {"loky": "at most 1.0"},
    "up": {"mpi4py.futures": "at most 0.5", "loky": "at most 0.5"},
}
WHAT = {
    "submit": ("5,000 trivial tasks by submit", "k/s"),
    "one by one": ("1,000 tasks, one at a time", "k/s"),
    "map": ("100,000 trivial tasks by map", "k/s"),
    "mixed": ("1,000 tasks of 0.1 to 50 ms", "s"),
    "captured": ("200 tasks over one 256 MiB array", "s"),
    "large results": ("200 tasks that return 8 MiB", "/s"),
    "up": ("8 workers up and answering", "ms"),
    "restart": ("worker killed: its task runs again", "ms"),
}


def run(name: str, runs: int) -> Iterator[Row]:
    """Rows of the table."""
    found = in_a_job("cmpi.bench.jobs.pool_work", runs or RUNS)
    for key, (what, unit) in WHAT.items():
        figures = found[key]
        ours = figures.pop("cmpi")
        if key == "mixed":
            yield Row(what, ours, unit, "sum of the tasks / workers", figures["ideal"], "at most 1.10")
            continue
        if key == "restart":
            yield Row(what, ours, unit, limit="at most 100")
        for i, (other, theirs) in enumerate(figures.items()):
            limit = LIMITS.get(key, {}).get(other, "")
            yield Row(what if i == 0 else "", ours, unit, other, theirs, limit)
