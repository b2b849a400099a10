"""The time at which the job will be ended by Slurm's time limit."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from cmpi._runtime.process import context
from cmpi.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


def deadline() -> float | None:
    """Return the seconds until the job is ended, 0 if that time is past, None if there is no limit.

    Within a Slurm job this is the job's time limit, as it was when the job began. Blocks: as `pid`.
    """
    end_s = context.current().deadline_s
    return max(0.0, end_s - time.time()) if end_s else None


def on_deadline(callback: Callable[[], object], before: float = 60.0) -> None:
    """Call `callback` once, `before` seconds ahead of the deadline, for instance to save results.

    It is called in its own thread, at once if less time is left, and never if there is no deadline. Each
    process of the job sets its own callbacks. Exceptions in it are shown on stderr.

    Raises:
        UsageError: `before` is negative, or `callback` is not callable.

    Blocks: as `pid`. Source: none; Slurm's `--signal` reaches only the batch script.
    """
    if not callable(callback) or not before >= 0:
        raise UsageError(
            f"on_deadline takes a callable and a number of seconds >= 0; found {callback!r}, {before!r}"
        )
    end_s = context.current().deadline_s
    if end_s:
        threading.Thread(
            target=_call_at, args=(end_s - before, callback), name="cmpi-deadline", daemon=True
        ).start()


def _call_at(when_s: float, callback: Callable[[], object]) -> None:
    while (left_s := when_s - time.time()) > 0:
        time.sleep(min(left_s, 3600.0))
    try:
        callback()
    except Exception:
        sys.excepthook(*sys.exc_info())
