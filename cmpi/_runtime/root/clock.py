"""The time by which the root and the host spawners measure how long something takes: see `AwakeClock`."""

from __future__ import annotations

import time

from cmpi._core.awake_clock import STEP_S, AwakeClock

_clock = AwakeClock(time.monotonic())


def now_s() -> float:
    """The time, without the time in which this process was stopped. From any thread."""
    return _clock.now_s(time.monotonic())


def look() -> None:
    """Note that the loop runs; called in each of its turns, at least every `STEP_S` if anything is due."""
    _clock.look(time.monotonic())


def patience_s(times_s: list[float | None]) -> float | None:
    """How long the loop may sleep before the earliest of these times, or before its next look; None:
    without limit, because nothing is due."""
    first_s = min((time_s for time_s in times_s if time_s is not None), default=None)
    return None if first_s is None else min(max(0.0, first_s - now_s()), STEP_S)
