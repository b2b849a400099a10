"""A clock that does not count the time in which the process that reads it is stopped.

A whole job can be stopped and continued later: by SIGSTOP, `scontrol suspend`, `docker pause`. No process
of it has then had time to do anything, so limits on how long something may take must not count that time.
The kernel does not tell a process how long it was stopped. But a loop looks at its clock in each turn, and
never sleeps for longer than a step: what passes between two looks counts as a step at most.
"""

from __future__ import annotations

STEP_S = 2.0  # the most that counts between two looks


class AwakeClock:
    """The clock. One thread looks; any thread may ask for the time.

    Args:
        real_s: The time by a clock that is never stopped.
    """

    def __init__(self, real_s: float) -> None:
        self._last_s = real_s, real_s  # the real time of the last look, and this clock's

    def now_s(self, real_s: float) -> float:
        """The time by this clock; `real_s` is the real time."""
        looked_s, then_s = self._last_s
        return then_s + min(max(0.0, real_s - looked_s), STEP_S)

    def look(self, real_s: float) -> None:
        """Another turn of the loop begins; `real_s` is the real time."""
        self._last_s = real_s, self.now_s(real_s)
