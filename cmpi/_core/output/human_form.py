"""The output forms for people: a name before each line, `rank 2 │ text`, or a heading when the name
changes."""

from __future__ import annotations

from cmpi._core.output.terminal_text import columns, encode, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.output.speaker import Speaker

OUT, ERR, SPAWNED, FAILED, ENDED = "│", "!", "+", "✗", "="
_ASCII = {OUT: "|", FAILED: "x"}
_COLOURS = (32, 34, 35, 36, 92, 94, 95, 96)  # of titles; red and yellow have a meaning
DIM, RED, YELLOW = 2, 31, 33
_OF_MARK = {OUT: 0, ERR: YELLOW, SPAWNED: DIM, FAILED: RED, ENDED: DIM}
TYPICAL_TITLE = 20  # columns of `name · 9aef1d7`
MOST_TITLE = 28  # columns, to which titles are aligned
LEAST_TEXT = 20  # columns for the text, however narrow the terminal is


class HumanForm:
    """Formats lines for people.

    Args:
        headings: Put a title on a line of its own whenever the process changes, instead of one in each
            line.
        colour: Whether escape sequences may be used.
        utf8: Whether the destination shows more than ASCII.
    """

    def __init__(self, *, headings: bool, colour: bool, utf8: bool) -> None:
        self.headings, self.colour, self._utf8 = headings, colour, utf8
        self._title_columns = 0
        self._prefixes: dict[tuple[int, str], bytes] = {}

    def met(self, who: Speaker) -> None:
        """Take a new speaker, or the changed title of one, into account for the width of the title
        column."""
        self._title_columns = max(self._title_columns, min(MOST_TITLE, _width(who.title)))
        self._prefixes.clear()

    def titled(self, who: Speaker, mark: str) -> bytes:
        """The title and the mark, which precede a line."""
        key = who.pid, mark
        if key not in self._prefixes:
            space = " " * (self._title_columns - _width(who.title))
            self._prefixes[key] = encode(f"{self._title(who)}{space} {self._bar(mark)} ")
        return self._prefixes[key]

    def _untitled(self, mark: str) -> bytes:
        """The prefix of a line's further rows."""
        return encode(f"{' ' * self._title_columns} {self._bar(mark)} ")

    def titled_columns(self, who: Speaker) -> int:
        """How many columns title and mark take."""
        return max(self._title_columns, _width(who.title)) + 3

    def heading(self, who: Speaker) -> bytes:
        """The line with the title, in the form with headings."""
        return encode(self._title(who, bold=True) + "\n")

    def lines(self, who: Speaker, mark: str, data: bytes, width: int = 0) -> bytes:
        """Whole lines with their prefix; lines longer than `width` columns (0: no limit) are wrapped and
        keep their indent."""
        if self.headings:
            prefix, indent = (b"  ", 2) if mark == OUT else (encode(f"  {self._bar(mark)} "), 4)
        else:
            prefix, indent = self.titled(who, mark), self.titled_columns(who)
        code = _OF_MARK[mark] if mark in (SPAWNED, FAILED, ENDED) else 0
        if code and self.colour:
            data = b"".join(b"\x1b[%dm%s\x1b[0m\n" % (code, line) for line in data.splitlines())
        rows = data[:-1].split(b"\n")
        if width:
            goes_on = b"\n" + (b" " * indent if self.headings else self._untitled(mark))
            room = max(LEAST_TEXT, width - indent)
            rows = [goes_on.join(map(_closed, wrap(row, room))) for row in rows]
        elif b"\x1b" in data:
            rows = list(map(_closed, rows))
        return prefix + (b"\n" + prefix).join(rows) + b"\n"

    def painted(self, text: str, code: int) -> str:
        """The text in a colour, if colours may be used."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code else text

    def _bar(self, mark: str) -> str:
        return self.painted(mark if self._utf8 else _ASCII.get(mark, mark), _OF_MARK[mark])

    def _title(self, who: Speaker, *, bold: bool = False) -> str:
        title = who.title if self._utf8 else _plain(who.title)
        if not self.colour:
            return title
        colour = _COLOURS[(who.pid if who.rank is None else who.rank) % len(_COLOURS)]
        return f"\x1b[{'1;' if bold else ''}{colour}m{title}\x1b[0m"


def _closed(row: bytes) -> bytes:
    """The row, with any open colour reset so that it does not run on into the next line's prefix."""
    return row + b"\x1b[0m" if b"\x1b[" in row and not row.endswith(b"\x1b[0m") else row


def _plain(text: str) -> str:
    return text.replace(" · ", " : ").encode("ascii", "replace").decode()


def _width(text: str) -> int:
    return len(text) if text.isascii() else sum(map(columns, text))
