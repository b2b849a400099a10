"""The messages about a request that waits for room."""

import pytest

from cmpi._base.units import CPU_UNIT
from cmpi._core.scheduling.host_room import Host, Submit
from cmpi._core.scheduling.shortage import Holder, why_it_waits
from tests.core.frames import spawn_frame

GIB = 1 << 30


def ask(cpus=0.0, memory=0, host="", n=1):
    units = int(cpus * CPU_UNIT)
    return spawn_frame(
        cpu_units=units, memory_bytes=memory, asks_cpus=cpus > 0, asks_memory=memory > 0, host=host, n=n
    )


def hosts(**taken):
    """Hosts of 2 cores and 4 GiB, of which this many cores and GiB are taken."""
    made = [Host(name, 2 * CPU_UNIT, 4 * GIB) for name in taken]
    for host, (cpus, gib) in zip(made, taken.values()):
        host.take(Submit(0, 0, int(cpus * CPU_UNIT), gib * GIB, True))
    return made


def holder(name, host, cpus=0.0, memory=0):
    return Holder(name, host, int(cpus * CPU_UNIT), memory)


ROWS = [
    (
        ask(1),
        hosts(h=(1.06, 0)),
        [holder("rank 0", "h", 0.06), holder("97fbea4", "h", 1), holder("idle", "h", 0, 1)],
        "spawn(cpus=1) waits for room: 0.94 of 2 cores free (rank 0 holds 0.06, 97fbea4 holds 1); "
        "ask for less, or --cpus 3",
    ),
    (
        ask(1, 3 * GIB),
        hosts(h=(1, 2)),
        [holder("rank 0", "h", 1, 2 * GIB)],
        'spawn(cpus=1, memory="3 GiB") waits for room: 2 GiB of 4 GiB of memory free (rank 0 holds 2 GiB); '
        'ask for less, or --memory "5120 MiB"',
    ),
    (
        ask(2),
        hosts(a=(1.5, 0), b=(0.5, 0)),
        [holder("x", "a", 1.5), holder("y", "b", 0.5)],
        "spawn(cpus=2) waits for room: 1.5 of 2 cores free on b (y holds 0.5); ask for less, or --cpus 3",
    ),
    (
        ask(1, host="a"),
        hosts(a=(1.5, 0), b=(0, 0)),
        [holder("x", "a", 1.5)],
        'spawn(cpus=1, host="a") waits for room: 0.5 of 2 cores free on a (x holds 1.5); '
        "ask for less, or --cpus 3",
    ),
    (
        ask(1, n=4),
        hosts(a=(1, 0), b=(0, 0)),
        [holder("x", "a", 1)],
        "spawn_group(4, cpus=1) waits for room: 3 of 4 cores free (x holds 1); ask for less, or more hosts",
    ),
    (
        ask(2),
        hosts(h=(1.2, 0)),
        [holder(f"p{i}", "h", 0.2) for i in range(6)],
        "spawn(cpus=2) waits for room: 0.8 of 2 cores free (p0 holds 0.2, p1 holds 0.2, p2 holds 0.2, "
        "p3 holds 0.2, 2 more hold 0.4); ask for less, or --cpus 4",
    ),
]


@pytest.mark.parametrize("request_, of, holders, text", ROWS)
def test_the_message_names_free_room_its_holders_and_a_remedy(request_, of, holders, text):
    assert why_it_waits(request_, of, holders, 0) == text


def test_the_message_about_a_request_that_would_fit_names_those_before_it():
    text = why_it_waits(ask(1), hosts(h=(0, 0)), [], 2)
    assert text == "spawn(cpus=1) waits for room: 2 requests made before it wait too"
