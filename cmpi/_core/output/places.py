"""Destinations of output: a file or pipe, to which text is only appended, or a terminal that can be
redrawn.

A `Paper` (a file, a pipe, any place in plain form) gets whole lines, and an unfinished one after a while.
A `Terminal` keeps what is unfinished in status lines below the text, redrawn in place.
"""

from __future__ import annotations

from cmpi._core.output.human_form import HumanForm
from cmpi._core.output.terminal_text import cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.output.speaker import Speaker

REDRAW_S = 0.1  # between two updates of a terminal's status lines
MOST_TEXT_BYTES = 1 << 18  # bytes of text that wait for the next update
MOST_STATUS_LINES = 16


class Paper:
    """A destination that text is only appended to. Not thread-safe, never blocks."""

    def __init__(self, form: HumanForm | None) -> None:
        self._form = form  # None: bytes as they are
        self._speaker: int | None = None
        self._unfinished: tuple[int, str] | None = None  # whose unfinished line stands at the end
        self.finished_lines = 0
        self.unfinished_s = 0.0  # since when

    def busy(self, who: Speaker, mark: str) -> bool:
        """Whether another process's unfinished line stands at the end."""
        return self._unfinished not in (None, (who.pid, mark))

    def add(self, who: Speaker | None, mark: str, data: bytes, now_s: float) -> bytes:
        """Append text of a speaker, or of cmpirun itself (None); its last line may be unfinished."""
        key = (-1 if who is None else who.pid, mark)
        goes_on = self._unfinished == key
        head = b"\n" if self._unfinished and not goes_on else b""
        end = data.endswith(b"\n")
        self._unfinished = None if end else key
        self.finished_lines += data.count(b"\n")
        if not end:
            self.unfinished_s = now_s
        if self._form is None or who is None:
            self._speaker = key[0]
            return head + data
        if goes_on:
            first, newline, rest = data.partition(b"\n")
            return first + newline + (self._lines(who, mark, rest, end) if rest else b"")
        if self._form.headings and self._speaker != who.pid:
            head += self._form.heading(who)
        self._speaker = who.pid
        return head + self._lines(who, mark, data, end)

    def _lines(self, who: Speaker, mark: str, data: bytes, end: bool) -> bytes:
        assert self._form is not None
        lines = self._form.lines(who, mark, data if end else data + b"\n")
        return lines if end else lines[:-1]


class Terminal:
    """A terminal: text that scrolls, and status lines below it that are redrawn in place.

    Text is collected, and `draw` returns the bytes that show it; call it every `REDRAW_S` while there are
    status lines. Not thread-safe, never blocks.
    """

    def __init__(self, form: HumanForm) -> None:
        self._form = form
        self.columns, self.rows = 80, 24
        self._text = b""
        self._speaker: int | None = None
        self._status: list[bytes] = []  # as they stand on the screen
        self._typed_lines = 0  # how far the cursor is below them
        self._changed = False
        self._drawn_s = float("-inf")
        self.finished_lines = 0

    def add(self, who: Speaker | None, mark: str, data: bytes) -> None:
        """Add whole lines of a speaker, or of cmpirun itself (None)."""
        self.finished_lines += data.count(b"\n")
        if who is None:
            self._speaker = None
            self._text += data
            return
        if self._form.headings and self._speaker != who.pid:
            self._text += self._form.heading(who)
        self._speaker = who.pid
        self._text += self._form.lines(who, mark, data, self.columns)

    def status_changed(self) -> None:
        """The status lines differ from those drawn, or may differ."""
        self._changed = True

    def typed(self, data: bytes) -> None:
        """The user has typed this, and the terminal has echoed it."""
        if self._status:
            self._typed_lines += data.count(b"\n")
            self._changed = True

    def due_s(self) -> float | None:
        """When to draw, None if there is nothing to draw; a time in the past means now."""
        if not self._text and not self._changed:
            return None
        if len(self._text) >= MOST_TEXT_BYTES:
            return float("-inf")
        return self._drawn_s + REDRAW_S if self._status or self._changed else float("-inf")

    @property
    def most_status_lines(self) -> int:
        """The largest number of status lines."""
        return max(1, min(MOST_STATUS_LINES, self.rows // 3))

    def draw(self, status: list[bytes], now_s: float) -> bytes:
        """Return the bytes that bring the terminal up to date."""
        text, self._text, self._changed = self._text, b"", False
        if not text and status == self._status and not self._typed_lines:
            return b""
        out = b""
        if self._status:
            up = len(self._status) - 1 + self._typed_lines
            out = b"\r" + (b"\x1b[%dA" % up if up else b"")
            if text or len(status) != len(self._status) or self._typed_lines:
                out += b"\x1b[J"
        out += text
        # Each row clears only what it does not cover, so nothing flickers.
        out += b"\x1b[K\n".join(status) + (b"\x1b[K" if status else b"")
        self._status, self._typed_lines, self._drawn_s = status, 0, now_s
        return out

    def status_row(self, who: Speaker, mark: str, row: bytes) -> bytes:
        """A status line: the title of a process, and as much of the row as fits."""
        room = max(1, self.columns - 1 - self._form.titled_columns(who))
        return self._form.titled(who, mark) + cut(row, room)

    def note_row(self, text: str) -> bytes:
        """A status line of cmpirun itself."""
        return cut(self._form.painted(text, 2).encode(), self.columns - 1)
