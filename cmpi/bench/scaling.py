"""Times the scheduler alone at a size beyond any laptop, with random arrivals and ends of processes.

    python -m cmpi.bench scaling         1,000 hosts of 64 cores, 100,000 processes alive

Nothing is started: the state machine in `cmpi._core.scheduling.scheduler` gets the events that the root
would give it.
"""

from __future__ import annotations

import random
import statistics
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence

from cmpi._base.units import CPU_UNIT
from cmpi._core.scheduling.host_room import Host, Submit
from cmpi._core.scheduling.scheduler import Place, Release, Scheduler
from cmpi.bench.common import Row

HOSTS, CORES, MEMORY_BYTES = 1_000, 64, 256 << 30
PROCESSES, OWNERS, SEED = 100_000, 200, 1
CPUS = (1 / 16, 1 / 4, 1 / 2, 1)  # what a process may ask for; 0.45 on average
GIB = 1 << 30


class Simulation:
    """Owners that always want more than there is room for, and processes that end at random."""

    def __init__(self, hosts: int, processes: int, seed: int) -> None:
        self.scheduler = Scheduler(
            [Host(f"h{i}", CORES * CPU_UNIT, MEMORY_BYTES, range(CORES)) for i in range(hosts)]
        )
        self.rng = random.Random(seed)
        self.processes = processes
        self.alive: list[int] = []
        self.owner: dict[int, int] = {}
        self.placed: Counter[int] = Counter()
        self.waiting: Counter[int] = Counter()
        self.decisions = 0

    def submit(self, owner: int) -> None:
        """An owner asks for another process."""
        ticket = len(self.owner)
        self.owner[ticket] = owner
        self.waiting[owner] += 1
        cpus = self.rng.choice(CPUS)
        memory = self.rng.choice((100 << 20, GIB, 4 * GIB))
        self._take(
            self.scheduler.handle(Submit(ticket, owner, int(cpus * CPU_UNIT), memory, True, cpus == 1))
        )

    def end_one(self) -> None:
        """A process ends."""
        at = self.rng.randrange(len(self.alive))
        self.alive[at], self.alive[-1] = self.alive[-1], self.alive[at]
        self._take(self.scheduler.handle(Release(self.alive.pop())))

    def _take(self, actions: Sequence[object]) -> None:
        self.decisions += 1
        for action in actions:
            assert isinstance(action, Place)
            self.alive.append(action.ticket)
            owner = self.owner[action.ticket]
            self.placed[owner] += 1
            self.waiting[owner] -= 1

    def fill(self) -> float:
        """Start with empty hosts and fill them until the wanted number is running, or no more fit; returns
        decisions per second."""
        begin_s = time.perf_counter()
        while len(self.alive) < self.processes and not self.scheduler.waiting:
            self.submit(len(self.owner) % OWNERS)
        return self.decisions / (time.perf_counter() - begin_s)

    def churn(self, rounds: int) -> float:
        """Alternate arrivals and ends, with every owner in the queue; returns decisions per second."""
        for owner in range(OWNERS):
            for _ in range(3):
                self.submit(owner)
        self.placed.clear()
        before, begin_s = self.decisions, time.perf_counter()
        for _ in range(rounds):
            self.end_one()
            # A greedy owner asks ten times as often as the others, but must not get more.
            owner = 0 if self.rng.random() < 0.1 else self.rng.randrange(OWNERS)
            if self.waiting[owner] < 50:
                self.submit(owner)
            owner = self.rng.randrange(OWNERS)
            if not self.waiting[owner]:
                self.submit(owner)
        return (self.decisions - before) / (time.perf_counter() - begin_s)


def run(_: str, runs: int) -> Iterator[Row]:
    """Rows of the table, for `runs` thousand rounds of churn."""
    rounds = 1000 * (runs or 20)
    simulation = Simulation(HOSTS, PROCESSES, SEED)
    filled = simulation.fill()
    yield Row("scheduler: hosts", HOSTS, "", "processes alive", len(simulation.alive))
    yield Row("  decisions while it fills", filled / 1e3, "k/s")
    simulation.processes = 1 << 60  # from here on, more is wanted than there is room for
    simulation.fill()
    churned = simulation.churn(rounds)
    yield Row("  decisions while it is full", churned / 1e3, "k/s")
    simulation.scheduler.validate()  # no host is overbooked, and no core is bound twice
    counts = [simulation.placed[owner] for owner in range(OWNERS)]
    median = statistics.median(counts)
    yield Row("  placed for a greedy owner", counts[0], "", "the median owner", median, "about 1")
    tracemalloc.start()
    Simulation(HOSTS, PROCESSES, SEED).fill()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    yield Row("  memory", peak / 1e6, "MB")
