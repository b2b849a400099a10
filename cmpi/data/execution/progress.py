"""The progress of a stage: a tqdm bar on stderr, with splits, rows and bytes."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from cmpi.data.extras import tqdm

SHOWN_AFTER_S = 1.0  # shorter stages need no bar
WITH_TOTAL = "{l_bar}{bar}| {n}/{total} splits [{elapsed}<{remaining}{postfix}]"
WITHOUT = "{desc}: {n} splits [{elapsed}{postfix}]"


class Progress:
    """The bar of one stage.

    Args:
        label: What the stage does.
        total: The number of splits, if known.
        shown: Whether to show the bar. None: if stderr is shown on a terminal, directly or by cmpirun, and
            tqdm is installed.

    Raises:
        MissingExtra: `shown` is true, and tqdm is not installed.
    """

    def __init__(self, label: str, total: int | None, shown: bool | None) -> None:
        self._rows = self._nbytes = 0
        self._start_s = time.monotonic()
        self._bar: Any = None
        if _is_shown(shown):
            after_s = SHOWN_AFTER_S if shown is None else 0
            form = WITHOUT if total is None else WITH_TOTAL
            # cmpirun sets COLUMNS to the room available; if stderr is a terminal, tqdm asks the terminal.
            width = None if sys.stderr.isatty() else int(os.environ.get("COLUMNS", 0)) or None
            self._bar = tqdm()(
                desc=label, total=total, bar_format=form, delay=after_s, file=sys.stderr, ncols=width
            )

    def know(self, total: int) -> None:
        """Set the number of splits."""
        if self._bar is not None:
            self._bar.total, self._bar.bar_format = total, WITH_TOTAL

    def add(self, rows: int, nbytes: int) -> None:
        """Count one more finished split. Blocks: at most for stderr, ten times a second."""
        if self._bar is None:
            return
        self._rows, self._nbytes = self._rows + rows, self._nbytes + nbytes
        self._bar.set_postfix_str(rates(self._rows, self._nbytes, self._elapsed_s()), refresh=False)
        self._bar.update()

    def _elapsed_s(self) -> float:
        return max(1e-6, time.monotonic() - self._start_s)

    def close(self) -> None:
        """Leave the last state of the bar on the screen."""
        if self._bar is not None:
            self._bar.close()


def _is_shown(shown: bool | None) -> bool:
    if shown is not None:
        return shown
    if not (sys.stderr is not None and sys.stderr.isatty()) and os.environ.get("TTY_COMPATIBLE") != "1":
        return False
    try:
        return tqdm() is not None
    except ImportError:
        return False


def rates(rows: int, nbytes: int, elapsed_s: float) -> str:
    """Rows and bytes per second, leaving out zeros.

    >>> rates(3_000_000, 4_500_000_000, 2.0)
    '1.5M rows/s, 2.25GB/s'
    """
    shown = [(rows, " rows/s"), (nbytes, "B/s")]
    return ", ".join(f"{_short(amount / elapsed_s)}{unit}" for amount, unit in shown if amount)


def _short(number: float) -> str:
    for unit in ("", "k", "M", "G"):
        if number < 999.5 or unit == "G":
            break
        number /= 1000
    return f"{number:.3g}{unit}"
