"""Times a channel between two hosts, by TCP and through MPI (`--fabric mpi`), compared with mpi4py between
ranks there and with a bare TCP connection; and a spawn there. Run
`python -m cmpi.bench hosts --hosts node1:2,node2:2` on the first host."""

from __future__ import annotations

from collections.abc import Iterator

from cmpi.bench.common import Row, in_a_job


def run(hosts: str, runs: int) -> Iterator[Row]:
    """Rows of the table."""
    names = [part.partition(":")[0] for part in hosts.split(",")]
    options = ("--host", ",".join(f"{name}:1" for name in names[:2]), "-n", "2")
    found = in_a_job(
        "cmpi.bench.jobs.host_pair", runs or 11, *names[:2], options=(*options, "--fabric", "tcp")
    )
    cmpi, mpi, tcp = found["cmpi"], found["raw"], found["tcp"]
    rows = (
        ("two hosts: ping-pong, small object", "pingpong", "us", "mpi4py send/recv", "at most 1.5"),
        ("two hosts: small objects, one way", "one_way", "us", "mpi4py send/recv", ""),
        ("two hosts: round trip, one sleeps", "sleeping", "us", "mpi4py, which spins", "at most 3.5"),
        ("two hosts: stream of 8 MiB arrays", "stream", "GB/s", "mpi4py Send/Recv", "at least 0.95"),
    )
    for what, key, unit, against, limit in rows:
        yield Row(what, cmpi[key], unit, against, mpi[key])
        yield Row("  the same", cmpi[key], unit, "a TCP socket", tcp[key], limit)
    spawns = found["spawn"]
    what = "spawn there, to the running closure"
    yield Row(what, spawns["there"], "ms", "spawn here", spawns["here"])
    found = in_a_job(
        "cmpi.bench.jobs.host_pair", runs or 11, *names[:2], options=(*options, "--fabric", "mpi")
    )
    cmpi, mpi, tcp = found["cmpi"], found["raw"], found["tcp"]
    carried = (
        ("through MPI: ping-pong, small object", "pingpong", "us", "a TCP socket", tcp, ""),
        ("through MPI: small objects, one way", "one_way", "us", "mpi4py send/recv", mpi, ""),
        ("through MPI: round trip, one sleeps", "sleeping", "us", "a TCP socket", tcp, ""),
        ("through MPI: stream of 8 MiB arrays", "stream", "GB/s", "mpi4py Send/Recv", mpi, ""),
    )
    for what, key, unit, against, other, limit in carried:
        yield Row(what, cmpi[key], unit, against, other[key], limit)
