"""Many processes: what blocked ones cost, and the time of the first messages between all pairs."""

from __future__ import annotations

from collections.abc import Iterator

from cmpi.bench.common import Row, in_a_job

FEW, MANY, BLOCKED = 15, 45, 100


def run(name: str, runs: int) -> Iterator[Row]:
    """Rows of the table."""
    if name == "blocked":
        found = in_a_job("cmpi.bench.jobs.crowd", "blocked", BLOCKED)
        what = f"CPU of {BLOCKED} blocked receivers"
        yield Row(what, found["percent"], "%", limit="at most 5")
        yield Row("  and of their monitors", found["monitors"], "%")
    else:
        few = in_a_job("cmpi.bench.jobs.crowd", "alltoall", FEW)["seconds"]
        many = in_a_job("cmpi.bench.jobs.crowd", "alltoall", MANY)["seconds"]
        pairs = [n * (n - 1) / 2 for n in (FEW, MANY)]
        what = f"all-to-all of {MANY}, a pair"
        against = f"all-to-all of {FEW}, a pair"
        yield Row(what, many / pairs[1] * 1e3, "ms", against, few / pairs[0] * 1e3, "at most 1.0")
