"""The job behind `chaos`: supervised workers, a pool and streams, while processes and monitors are killed,
get signals and fork, and sockets drop.

    cmpirun python -m cmpi.bench.jobs.chaotic KILLS SEED

Rank 0 keeps the accounts. It gives numbered tasks to workers that it finds by name, whichever process has
the name at the moment, and gives the tasks of a dead worker to others. It also starts pairs of processes, a
source that streams to a sink: the sink must see whole messages in order, and then the end or the death of
its source.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import signal
import statistics
import sys
import time
from collections import Counter, deque
from typing import Any

import numpy as np

import cmpi
from cmpi import Child, PeerExited, Pid, Receiver, Resources, Sender
from cmpi.bench.jobs.chaotic_parts import (
    STOPPED_S,
    Forks,
    drop_a_socket,
    parent_of,
    stop_a_part,
    stop_for_a_moment,
)

SMALL = Resources(memory="400 MiB")
WORKERS, PAIRS, AT_ONCE = 4, 2, 4
KILL_EVERY_S = 0.03
FORK_EVERY = 10  # tasks
ENDS = (
    *("worker killed",) * 2,
    *("monitor: SIGKILL", "monitor: SIGTERM", "source killed", "sink killed"),
    *("worker: SIGTERM", "worker: SIGINT"),
)
# Actions that kill nobody. A socket is dropped only if there is no shared memory.
SIGNALS = ("worker: SIGSTOP", "worker: SIGUSR1", "any part stopped", "socket dropped")
STALL_S = 30.0  # without a finished task or message, the job counts as hanging


def worker(boss: Pid, top: Pid) -> None:
    """A worker: adds up the numbers that it is given, and forks now and then."""
    signal.signal(signal.SIGUSR1, lambda *_: None)
    Sender[Any](top, name="hello").send((os.getppid(), os.getpid()))
    results = Sender[Any](top, name="results")
    forks = Forks(lambda: results.send("from a forked child"))
    try:
        for number, array in Receiver[Any](top, name="tasks"):
            complaint = forks.fork(number // FORK_EVERY) if number % FORK_EVERY == 0 else ""
            results.send((number, complaint or float(array.sum())))
    except KeyboardInterrupt:  # at any point
        sys.exit(128 + signal.SIGINT)


def boss(top: Pid) -> None:
    """The workers' supervisor, until rank 0 ends."""
    cmpi.link(top)
    children = [Child(worker, top, name=f"worker {i}", resources=SMALL) for i in range(WORKERS)]
    cmpi.supervise(children, max_restarts=10**9, backoff=(0.0, 0.0))


def source(top: Pid) -> None:
    """A source: streams arrays to its sink until it is ended."""
    out = Sender[Any](Receiver[Any](top).recv())
    try:
        for i in range(10**9):
            out.send((i, np.full((1, 3000, 30_000)[i % 3], i)))
    except (PeerExited, cmpi.PeerClosed):
        pass


def sink(top: Pid, origin: Pid) -> None:
    """A sink: checks the arrays, and reports how many arrived."""
    seen, n = Sender[Any](top), 0
    with contextlib.suppress(cmpi.PeerClosed):  # rank 0 has seen enough
        try:
            for i, array in Receiver[Any](origin):
                assert i == n and (array == i).all(), f"{n} expected, {i} came, or it was torn"
                n += 1
                if n % 50 == 0:
                    seen.send(n)
        except PeerExited:
            pass
        seen.send(-1)


class Crew:
    """One worker as rank 0 sees it."""

    def __init__(self, pid: Pid) -> None:
        self.pid = pid
        self.hello = Receiver[Any](pid, name="hello")
        self.tasks = Sender[Any](pid, name="tasks")
        self.results = Receiver[Any](pid, name="results")
        self.monitor = self.process = 0
        self.outstanding: dict[int, float] = {}

    def close(self) -> None:
        for end in (self.hello, self.tasks, self.results):
            end.close()


class Chaos:
    """The work of rank 0."""

    def __init__(self, kills: int, seed: int) -> None:
        self._kills_left, self._choice = kills, random.Random(seed)
        self._crews: dict[int, Crew] = {}
        self._dead: set[Pid] = set()
        self._todo: deque[int] = deque()
        self._next_task = 0
        self._expected: dict[int, float] = {}
        self._pairs: list[tuple[Pid, Pid, Receiver[Any]]] = []
        self.counts: Counter[str] = Counter()
        self.noticed_s: list[float] = []  # from each kill to the error that reports it
        self._killed_s: dict[Pid, float] = {}
        self.longest_stall_s = 0.0
        self._moved()

    def run(self) -> None:
        """Run until all kills are done and everything is accounted for."""
        top = cmpi.spawn(boss, resources=SMALL)
        kill_s = time.monotonic()
        while self._kills_left or self._expected:
            self._hire()
            self._feed()
            self._listen()
            if self._kills_left and time.monotonic() >= kill_s:
                self._kill()
                kill_s = time.monotonic() + self._choice.random() * 2 * KILL_EVERY_S
        cmpi.unlink(top)
        cmpi.kill(top)
        for origin, end, _ in self._pairs:
            cmpi.kill(origin)
            cmpi.kill(end)
        faulthandler.cancel_dump_traceback_later()

    def _moved(self) -> None:
        self._moved_s = time.monotonic()
        faulthandler.dump_traceback_later(STALL_S, exit=True)  # in case this process hangs

    def _hire(self) -> None:
        for i in range(WORKERS):
            if i not in self._crews:
                pid = cmpi.whereis(f"worker {i}")
                if pid is not None and pid not in self._dead:
                    self._crews[i] = Crew(pid)
        while len(self._pairs) < PAIRS:
            origin = cmpi.spawn(source, resources=SMALL)
            end = cmpi.spawn(sink, origin, resources=SMALL)
            try:
                Sender[Any](origin).send(end)
            except PeerExited:
                pass  # the sink will report it
            self._pairs.append((origin, end, Receiver[Any](end)))

    def _feed(self) -> None:
        for crew in self._crews.values():
            while len(crew.outstanding) < AT_ONCE and (self._todo or self._kills_left):
                number = self._todo.popleft() if self._todo else self._next_task
                if number == self._next_task:
                    self._next_task += 1
                size = (10, 5000, 40_000)[number % 3]
                self._expected[number] = float(size * number)
                crew.outstanding[number] = 0.0
                try:
                    crew.tasks.try_send((number, np.full(size, float(number))))
                except (PeerExited, cmpi.PeerClosed):
                    break  # its results will report it

    def _listen(self) -> None:
        waiting: dict[Any, Any] = {crew.results: i for i, crew in self._crews.items()}
        waiting |= {pair[2]: pair for pair in self._pairs}
        try:
            receiver, value = cmpi.select(*waiting, timeout=KILL_EVERY_S)
        except TimeoutError:
            self._stalled()
            return
        except (PeerExited, cmpi.EndOfChannel) as error:
            receiver, value = error.operation, None  # type: ignore[union-attr]
            self._noticed(receiver.pid)
        of = waiting[receiver]
        if isinstance(of, int):
            self._result(of, value)
        elif value is None or value < 0:
            self._pairs.remove(of)
            for pid in of[:2]:
                cmpi.kill(pid)
            of[2].close()
            self.counts["streams"] += 1
        else:
            self.counts["messages"] += 50
        self._stalled(moved=value is not None)

    def _result(self, i: int, value: Any) -> None:
        crew = self._crews[i]
        if value is None:
            del self._crews[i]
            self._dead.add(crew.pid)
            self._todo.extend(crew.outstanding)
            crew.close()
            return
        number, total = value
        del crew.outstanding[number]
        if number in self._expected:
            expected = self._expected.pop(number)
            assert total == expected, f"task {number}: the result is {total}, not {expected}"
            self.counts["tasks"] += 1
        else:
            self.counts["done twice"] += 1  # by a worker that was killed after it had answered

    def _noticed(self, pid: Pid) -> None:
        killed_s = self._killed_s.pop(pid, None)
        if killed_s is not None:
            self.noticed_s.append(time.monotonic() - killed_s)

    def _stalled(self, moved: bool = False) -> None:
        self.longest_stall_s = max(self.longest_stall_s, time.monotonic() - self._moved_s)
        if moved:
            self._moved()

    def _kill(self) -> None:
        """Kill a worker, its monitor, a source or a sink; or do to a process what it survives."""
        what = self._choice.choice(ENDS + SIGNALS)
        try:
            victim = self._victim(what)
        except (ProcessLookupError, PeerExited, cmpi.EndOfChannel):
            return  # it has ended
        if victim is None or victim in self._killed_s:
            return
        if what in ENDS:
            self._killed_s[victim] = time.monotonic()
        self._kills_left -= 1
        self.counts[what] += 1

    def _victim(self, what: str) -> Pid | None:
        """Act on a process, and return it; None if there was none.

        Raises:
            ProcessLookupError, PeerExited, EndOfChannel: The worker has ended.
        """
        if what == "any part stopped":
            return cmpi.pid() if stop_a_part(self._choice) else None
        if what == "socket dropped":
            return cmpi.pid() if drop_a_socket(self._choice) else None
        if what in ("source killed", "sink killed"):
            origin, end, _ = self._choice.choice(self._pairs)
            victim = end if what == "sink killed" else origin
            cmpi.kill(victim)
            return victim
        if not self._crews:
            return None
        crew = self._crews[self._choice.choice(sorted(self._crews))]
        if what == "worker killed":
            cmpi.kill(crew.pid)
            return crew.pid
        if not crew.monitor:
            crew.monitor, crew.process = crew.hello.try_recv((0, 0))
            if not crew.monitor:
                return None  # it has not started yet
        if what == "worker: SIGSTOP":
            stop_for_a_moment(crew.process, self._choice.random() * STOPPED_S)
            return crew.pid
        of, number = what.split(": ")
        if of == "monitor" and parent_of(crew.process) != crew.monitor:
            return None  # the worker has ended, and its monitor has another process
        os.kill(crew.monitor if of == "monitor" else crew.process, getattr(signal, number))
        return crew.pid


def main(kills: int, seed: int) -> int:
    """Run the job; returns the exit code."""
    chaos = Chaos(kills, seed)
    started = time.monotonic()
    chaos.run()
    took_s = time.monotonic() - started
    noticed = sorted(chaos.noticed_s)
    print(f"{kills} kills survived in {took_s:.0f} s: {dict(sorted(chaos.counts.items()))}")
    p50, p99 = statistics.median(noticed) * 1000, noticed[len(noticed) * 99 // 100] * 1000
    print(f"longest stall {chaos.longest_stall_s * 1000:.0f} ms; a death is noticed after", end=" ")
    print(f"{p50:.1f} ms (p50), {p99:.0f} ms (p99)")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
