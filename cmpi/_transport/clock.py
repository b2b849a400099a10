"""The time by which cmpi measures how long something may take: see `AwakeClock`.

Limits that the user sets, such as `timeout=`, are those of the real clock.
"""

from __future__ import annotations

import select
import time

from cmpi._core.awake_clock import STEP_S, AwakeClock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_clock = AwakeClock(time.monotonic())


def now_s() -> float:
    """The time, without the time in which this process was stopped. From any thread.

    A loop that waits for a time must read this clock at least every `STEP_S` seconds: see `patience_s`.
    """
    return _clock.now_s(time.monotonic())


def patience_s(times_s: Iterable[float | None]) -> float | None:
    """How long a loop may sleep before the earliest of these times, or before it reads the clock again;
    None: without limit, because nothing is due."""
    first_s = min((time_s for time_s in times_s if time_s is not None), default=None)
    return None if first_s is None else min(max(0.0, first_s - now_s()), STEP_S)


def wait_readable(descriptor: int, end_s: float) -> bool:
    """Wait until something can be read there; False if that is not so by `end_s`. Blocks: until then."""
    poll = select.poll()  # `select` cannot handle descriptors above 1023
    poll.register(descriptor, select.POLLIN)
    while True:
        left_s = patience_s([end_s])
        assert left_s is not None
        if poll.poll(left_s * 1000):
            return True
        if now_s() >= end_s:
            return False
