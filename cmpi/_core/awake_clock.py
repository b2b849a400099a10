"""A clock that does not count the time in which the process that reads it is stopped.

A whole job can be stopped and continued later: by SIGSTOP, `scontrol suspend`, `docker pause`. No process
of it has then had time to do anything, so limits on how long something may take must not count that time.
The kernel does not tell a process how long it was stopped. But whoever waits for a limit reads the clock in
each turn of a loop, and never sleeps for longer than a step: what passes between two readings counts as a
step at most.
"""

from __future__ import annotations

STEP_S = 2.0  # the most that counts between two readings


class AwakeClock:
    """The clock. Any thread may read it.

    Args:
        real_s: The time by a clock that is never stopped.
    """

    def __init__(self, real_s: float) -> None:
        self._last_s = real_s, real_s  # the real time of the last reading, and this clock's

    def now_s(self, real_s: float) -> float:
        """The time by this clock; `real_s` is the real time."""
        read_s, then_s = self._last_s
        now_s = then_s + min(max(0.0, real_s - read_s), STEP_S)
        self._last_s = max(read_s, real_s), now_s
        return now_s
