"""A channel between two hosts, beside mpi4py between ranks there and a bare TCP connection; and a spawn
there. `python -m cmpi.bench hosts --hosts node1:2,node2:2`, on the first of them."""

from __future__ import annotations

from collections.abc import Iterator

from cmpi.bench.common import Row, in_a_job


def run(hosts: str, runs: int) -> Iterator[Row]:
    """Rows of the table."""
    names = [part.partition(":")[0] for part in hosts.split(",")]
    options = ("--host", ",".join(f"{name}:1" for name in names[:2]), "-n", "2")
    found = in_a_job("cmpi.bench.jobs.host_pair", runs or 11, *names[:2], options=options)
    what = "two hosts: ping-pong, small object"
    yield Row(what, found["cmpi"]["pingpong"], "us", "mpi4py send/recv", found["raw"]["pingpong"])
    yield Row("  the same", found["cmpi"]["pingpong"], "us", "a TCP socket", found["tcp"]["pingpong"])
    what = "two hosts: stream of 8 MiB arrays"
    yield Row(what, found["cmpi"]["stream"], "GB/s", "mpi4py Send/Recv", found["raw"]["stream"])
    yield Row("  the same", found["cmpi"]["stream"], "GB/s", "a TCP socket", found["tcp"]["stream"])
    spawns = found["spawn"]
    what = "spawn there, to the running closure"
    yield Row(what, spawns["there"], "ms", "spawn here", spawns["here"])
