"""Which pairs of processes the fabric agents connect: those of two hosts whose agents are both up. Pure.

At the job's start, processes of two hosts that are to have agents wait for these, for a limited time; later
they use TCP whenever the agents are not up.
"""

from __future__ import annotations

FORM_S = 20.0  # how long connections wait for the agents at the start
CARRIED, WAIT, DIRECT = "carried", "wait", "direct"


class Fabric:
    """The fabric agents of a job. Every method is an event or a question.

    Args:
        hosts: Where agents are being started.
        key: What a process has to know to be served by them.
    """

    def __init__(self, hosts: list[str], key: bytes = b"") -> None:
        self.key = key
        self._awaited = set(hosts)
        self._up = set[str]()
        self._failed = set[tuple[int, int]]()  # pairs of processes that could not be connected so
        self._late = False  # they did not come up in time
        self.deadline_s: float | None = None

    def way(self, a: int, host_a: str, b: int, host_b: str) -> str:
        """How to connect two processes: CARRIED by agents, DIRECT, or WAIT until that is known."""
        if host_a == host_b or (min(a, b), max(a, b)) in self._failed:
            return DIRECT
        if {host_a, host_b} <= self._up:
            return CARRIED
        return WAIT if {host_a, host_b} <= self._up | self._awaited else DIRECT

    def up(self, host: str) -> None:
        """The agent of a host is up."""
        self._awaited.discard(host)
        self._up.add(host)
        self._late = False

    def down(self, host: str) -> bool:
        """The agent of a host has ended, and the others' with it, soon; whether it was the first of a world
        that was up."""
        first = host in self._up and len(self._up) > 1
        if host in self._up:
            self._up.clear()
        return first

    def failed(self, a: int, b: int) -> None:
        """The agents could not connect these two; they are not asked again."""
        self._failed.add((min(a, b), max(a, b)))

    def left(self, pid: int) -> None:
        """A process has ended."""
        self._failed = {pair for pair in self._failed if pid not in pair}

    def give_up(self) -> bool:
        """There will be no more agents; returns whether that is news."""
        self._awaited.clear()
        self.deadline_s = None
        return not self._late

    def tick(self, now_s: float) -> str:
        """Returns why nobody waits for the agents any more, if the time for that is over; else ""."""
        if not self._awaited:
            self.deadline_s = None
        elif self.deadline_s is None:
            self.deadline_s = now_s + FORM_S
        elif now_s >= self.deadline_s:
            missing = ", ".join(sorted(self._awaited))
            self.give_up()
            self._late = True
            return f"after {FORM_S:g} s there was no fabric agent on {missing}"
        return ""
