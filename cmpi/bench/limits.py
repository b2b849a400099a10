"""A thousand processes alive and ten thousand short ones, under the descriptor limit of many laptops."""

from __future__ import annotations

import resource
from collections.abc import Iterator

from cmpi.bench.common import Row, in_a_job

DESCRIPTORS = 1024
ALIVE, SPAWNS = 1_000, 10_000


def run(_: str, spawns: int) -> Iterator[Row]:
    """Rows of the table; `spawns` short processes, 0: `SPAWNS`."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, before[1]))
    try:
        found = in_a_job("cmpi.bench.jobs.limited", ALIVE, spawns or SPAWNS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    yield Row(f"{ALIVE} alive, all have said hello", found["alive"]["seconds"], "s")
    for name, number in found["alive"]["descriptors"].items():
        yield Row(f"  descriptors of the {name}", number, "")
    short = found["short"]
    what = f"{spawns or SPAWNS} short ones, the last tenth"
    yield Row(what, short["last"], "1/s", "the first tenth", short["first"], "at least 0.9")
    for name, grown in short["grown"].items():
        yield Row(f"  growth of the {name} since the first", grown, "MB")
        yield Row("    and of its descriptors", short["more descriptors"][name], "")
