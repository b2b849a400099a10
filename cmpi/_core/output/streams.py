"""The output of one descriptor of a process: whole lines to pass on, and one unfinished line.

If a program redraws a line (a progress bar, with carriage returns) or several lines (the cursor moves up)
for a while, only the last state is passed on.
"""

from __future__ import annotations

from cmpi._core.output.terminal_text import (
    Rows,
    last_state,
    redraws_lines,
    split_characters,
    split_lines,
    without_movements,
)

LONG_LINE_BYTES = 65536
LIVE_BYTES = 2048  # redrawn text beyond this is reduced to its last state
LIVE_ROWS = 16  # rows that one stream may redraw; those above are final
LIVE_S = 1.0  # after this long without cursor movements, all rows are final
_BINARY = bytes((*range(7), *range(14, 27), *range(28, 32)))  # no program draws with these


class OutputStream:
    """The state machine. `rest` is the unfinished part.

    Args:
        screen: Lines are for people: only the last state of redrawn text is passed on, also if several
            lines are redrawn. Otherwise bytes are passed on as they are, except a line that is redrawn for
            longer than `patience_s`.
        patience_s: See `screen`.
    """

    def __init__(self, *, screen: bool, patience_s: float) -> None:
        self._screen, self._patience_s = screen, patience_s
        self.rest = b""
        self.since_s = 0.0  # when the rest began, or was last shown
        self.shown = False  # in this state or an earlier one
        self.changed = False  # since it was shown
        self.began_s = 0.0  # when its line began
        self._live_until_s = float("-inf")

    @property
    def redrawn(self) -> bool:
        """Whether the rest is text that is drawn again and again."""
        return self.live or _is_redrawn(self.rest)

    @property
    def live(self) -> bool:
        """Whether several lines may be being redrawn."""
        return self._live_until_s > float("-inf")

    def take(self, data: bytes, now_s: float) -> bytes:
        """Take more bytes; return the lines that are whole now."""
        if not self.rest:
            self._begin(now_s)
        self.changed = True
        if self._screen and redraws_lines(data):
            self._live_until_s = now_s + LIVE_S
        if self.live:
            self.rest += data
            return self._settle_rows()
        whole, rest = split_lines(self.rest + data if self.rest else data)
        if whole:
            whole = self._last_states(whole, now_s)
            self._begin(now_s)
        if len(rest) > LIVE_BYTES and _is_redrawn(rest) and self._is_slow(now_s):
            rest = last_state(rest) + b"\r"
        if len(rest) > LONG_LINE_BYTES:
            more, rest = split_characters(rest)
            whole += self._last_states(more, now_s)
        self.rest = rest
        return whole

    def _is_slow(self, now_s: float) -> bool:
        return self._screen or self.began_s + self._patience_s <= now_s

    def _last_states(self, data: bytes, now_s: float) -> bytes:
        if not _is_redrawn(data) or not self._is_slow(now_s):
            return data
        first, *others = data.split(b"\n")
        # The other lines came whole.
        if self._screen:
            return b"\n".join(last_state(line.rstrip(b"\r")) for line in (first, *others))
        return b"\n".join((last_state(first) if _is_redrawn(first.rstrip(b"\r")) else first, *others))

    def rows(self) -> list[bytes]:
        """The unfinished part as a screen would show it."""
        if not self.redrawn:
            return [self.rest]
        return [row for row in Rows(self.rest).rows if row] or [b""]

    def tick(self, now_s: float) -> bytes:
        """Return lines that are no longer redrawn."""
        if not self.live or self._live_until_s > now_s:
            return b""
        self._live_until_s = float("-inf")
        rows = Rows(self.rest).rows
        done, self.rest = rows[:-1], rows[-1]
        self.since_s = self.began_s = now_s
        return b"".join(row + b"\n" for row in done)

    def _begin(self, now_s: float) -> None:
        self.since_s = self.began_s = now_s
        self.shown = False

    @property
    def deadline_s(self) -> float | None:
        """When `tick` is due; None if nothing is."""
        return self._live_until_s if self.live else None

    def end(self, now_s: float) -> bytes:
        """Return the rest, whole or not, because nothing follows; as `take`."""
        rest, live, self.rest = self.rest, self.live, b""
        self._live_until_s, self.shown = float("-inf"), False
        if live:
            rows = Rows(rest).rows
            return b"\n".join(rows)
        return self._last_states(rest, now_s)

    def _settle_rows(self) -> bytes:
        """Keep redrawn text short: rows above the redrawn ones are final."""
        if len(self.rest) <= LIVE_BYTES:
            return b""
        if len(self.rest) > LONG_LINE_BYTES:  # a flood rather than a few progress bars
            whole, rest = split_lines(self.rest)
            self.rest = rest[-LIVE_BYTES:]
            return without_movements(whole)
        screen = Rows(self.rest)
        rows = screen.rows
        n = max(screen.top, len(rows) - LIVE_ROWS)
        up = len(rows) - 1 - screen.row
        self.rest = b"\n".join(rows[n:]) + (b"\x1b[%dA" % up if up else b"") + b"\r"
        return b"".join(row + b"\n" for row in rows[:n])


def _is_redrawn(line: bytes) -> bool:
    """Whether this is text that is drawn over itself, and not binary data that happen to look so."""
    return (b"\r" in line or b"\b" in line) and len(line.translate(None, _BINARY)) == len(line)
