"""Interrupts calls of one kind: a signal handler raises inside them, again and again."""

from __future__ import annotations

import faulthandler
import random
import signal
from collections.abc import Callable
from typing import ClassVar

SHORTEST_S, LONGEST_S = 1e-5, 4e-4  # between interrupts, for calls that take microseconds
AGAIN_S = 5e-4, 2e-3, 0.1  # until the next interrupt, which may come while the first is being handled
STALL_S = 60.0  # without an interrupt, the job counts as hanging


class Tick(Exception):
    """The exception that the signal handler raises."""


_left = [0]  # how often the handler may still raise before the timer is set again


def _tick(*_: object) -> None:
    if _left[0]:
        _left[0] -= 1
        raise Tick


def interrupt(step: Callable[[], object], count: int, slower: int) -> None:
    """Call `step` again and again, until this many of the calls were interrupted."""
    ticks: list[int] = []
    shortest_s, longest_s = SHORTEST_S * slower, LONGEST_S * slower

    def until_enough() -> None:
        while len(ticks) < count:
            if len(ticks) % 64 == 0:
                faulthandler.dump_traceback_later(STALL_S, exit=True)
            try:
                first_s, again_s = random.uniform(shortest_s, longest_s), random.choice(AGAIN_S)
                _left[0] = 2
                signal.setitimer(signal.ITIMER_REAL, first_s, again_s)
                while True:
                    step()
            except Tick:
                ticks.append(0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)

    signal.signal(signal.SIGALRM, _tick)
    while len(ticks) < count:
        try:
            until_enough()
        except Tick:  # while counting, or while stopping the timer
            pass
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    faulthandler.dump_traceback_later(STALL_S, exit=True)


class Kind:
    """One kind of call, which is interrupted in `step`."""

    slower: ClassVar[int] = 1

    def step(self) -> object:
        """Make the call."""
        raise NotImplementedError

    def check(self) -> str:
        """Describe what is wrong; "" if nothing is."""
        raise NotImplementedError
