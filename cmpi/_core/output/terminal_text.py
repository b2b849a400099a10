"""Interprets bytes as a terminal does: lines, characters, columns, and the visible rest of redrawn
lines."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

TAB = 8
MOST_ROWS = 200  # of one stream's live text
LONG_BYTES = 8192  # in longer lines, characters are not examined one by one
MOST_STATES = 64  # states of one line; earlier ones do not matter
_ESCAPE = re.compile(
    r"\x1b(?:\[([0-9;:?<=>]*)[ -/]*([@-~])"  # CSI: parameters, final character
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC, such as a title or a link
    r"|[ -/]*[0-~])"  # two characters, and what has some between
)
_SIMPLE = re.compile(rb"[ -~]*")  # a byte is a character is a column
# Moves to an earlier line, or hides the cursor: programs that redraw several lines do this.
_LIVE = re.compile(rb"\x1b\[(?:[0-9]*[AF]|\?25l)")


def split_lines(data: bytes) -> tuple[bytes, bytes]:
    """Split into whole lines and the rest.

    >>> split_lines(b"a\\nb\\nc")
    (b'a\\nb\\n', b'c')
    """
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def split_characters(data: bytes) -> tuple[bytes, bytes]:
    """Split into whole UTF-8 characters and the beginning of an incomplete one (at most 3 bytes).

    Bytes that are not UTF-8 count as whole, so nothing is held for ever.

    >>> split_characters("né".encode()[:-1])
    (b'n', b'\\xc3')
    """
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:  # a first byte; of a character of 2, 3 or 4
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return (data[:-back], data[-back:]) if back < length else (data, b"")
        if byte < 0x80:
            break
    return data, b""


def redraws_lines(data: bytes) -> bool:
    """Whether this redraws several lines, by moving the cursor up."""
    return _LIVE.search(data) is not None


def columns(character: str) -> int:
    """How many columns of a terminal a character takes: 0, 1 or 2.

    Source: Unicode Standard Annex 11, "East Asian Width".
    """
    if character < "\x7f":
        return 1 if character >= " " else 0
    import unicodedata  # only for text that needs it

    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Mn", "Me", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The escape sequences (True) and characters of a text."""
    at = 0
    while at < len(text):
        match = _ESCAPE.match(text, at) if text[at] == "\x1b" else None
        if match is None:
            yield text[at], False
            at += 1
        else:
            yield match[0], True
            at = match.end()


def wrap(line: bytes, width: int) -> list[bytes]:
    """Split a line (without its end) into pieces of at most `width` columns; colours continue in the next
    piece.

    >>> wrap(b"abcdef", 4)
    [b'abcd', b'ef']
    """
    if _SIMPLE.fullmatch(line):
        return [line[at : at + width] for at in range(0, len(line), width)] or [b""]
    rows, row, used, style = [], "", 0, ""
    for piece, escape in _pieces(decode(line)):
        if escape:
            style = _next_style(style, piece)
            row += piece
            continue
        n = TAB - used % TAB if piece == "\t" else columns(piece)
        if used + n > width and used:
            rows.append(encode(row + ("\x1b[0m" if style else "")))
            row, used = style, 0
        row += piece
        used += n
    return [*rows, encode(row)]


def cut(line: bytes, width: int) -> bytes:
    """The first `width` columns of a line, without anything that could move the cursor."""
    if _SIMPLE.fullmatch(line):
        return line[:width]
    row, used, style = "", 0, ""
    for piece, escape in _pieces(decode(line)):
        if escape:
            if piece.startswith("\x1b[") and piece.endswith("m"):
                style = _next_style(style, piece)
                row += piece
            continue
        if piece == "\t":
            piece = " " * (TAB - used % TAB)
        n = sum(map(columns, piece))
        if used + n > width:
            break
        if n or piece >= "\x7f":
            row += piece
        used += n
    return encode(row + ("\x1b[0m" if style else ""))


def _next_style(style: str, escape: str) -> str:
    """The style that is in effect after this sequence."""
    if not (escape.startswith("\x1b[") and escape.endswith("m")):
        return style
    if escape in ("\x1b[m", "\x1b[0m"):
        return ""
    return (style + escape)[-200:]


def decode(data: bytes) -> str:
    """Bytes as text; `encode` restores bytes that are not UTF-8."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The bytes of a text that `decode` made."""
    return text.encode("utf-8", "surrogateescape")


def last_state(line: bytes) -> bytes:
    """The visible state of a line that was redrawn with carriage returns and backspaces.

    >>> last_state(b"90 % of it\\r100 %")
    b'100 %of it'
    """
    states = line.split(b"\r")
    if _SIMPLE.fullmatch(line.replace(b"\r", b"")):
        seen = b""
        for state in reversed(states):
            seen += state[len(seen) :]
        return seen
    if len(line) > LONG_BYTES and len(states) < MOST_STATES:
        return without_movements(next((state for state in reversed(states) if state), b""))
    return Rows(line).rows[-1]


def without_movements(data: bytes) -> bytes:
    """Text without cursor movements: its lines with their colours."""
    text = "".join(
        piece
        for piece, escape in _pieces(decode(data))
        if (piece.endswith("m") if escape else piece not in "\r\b")
    )
    return encode(text)


class Rows:
    """The rows that a terminal would show for some bytes, after all cursor movements.

    >>> Rows(b"10 %\\r20 %").rows
    [b'20 %']
    """

    def __init__(self, data: bytes) -> None:
        self._cells: list[list[tuple[str, str]]] = [[]]  # by row: (style, character)
        self.row = self._column = 0
        self.top = 0  # the highest row that the cursor last went up to
        self._went_up = False  # and nothing was written since
        style = ""
        for piece, escape in _pieces(decode(_without_overdrawn(data))):
            if not escape:
                self._put(style, piece)
            elif piece.startswith("\x1b[") and piece.endswith("m"):
                style = _next_style(style, piece)
            else:
                self._move(piece)

    @property
    def rows(self) -> list[bytes]:
        """The visible rows, without trailing spaces."""
        return [encode(_row_text(cells)) for cells in self._cells]

    def _put(self, style: str, character: str) -> None:
        if character == "\n":
            self.row, self._column = self.row + 1, 0
            self._extend()
        elif character == "\r":
            self._column = 0
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character == "\t":
            for _ in range(TAB - self._column % TAB):
                self._put(style, " ")
        elif (n := columns(character)) == 0:
            if character >= "\x7f" and self._column:  # an accent on the character before it
                row = self._cells[self.row]
                before, text = row[self._column - 1]
                row[self._column - 1] = before, text + character
        else:
            self._went_up = False
            row = self._cells[self.row]
            row += [("", " ")] * (self._column - len(row))
            row[self._column : self._column + n] = [(style, character), *[(style, "")] * (n - 1)]
            self._column += n

    def _move(self, escape: str) -> None:
        match = _ESCAPE.match(escape)
        assert match is not None
        parameters, final = match[1], match[2]
        n = int(parameters) if parameters and parameters.isdigit() else 0
        if final in ("A", "F"):
            self.row = max(0, self.row - max(1, n))
            self.top = min(self.top, self.row) if self._went_up else self.row
            self._went_up = True
        elif final in ("B", "E"):
            self.row += max(1, min(n, MOST_ROWS))
            self._extend()
        elif final == "C":
            self._column += max(1, min(n, 1000))
        elif final == "D":
            self._column = max(0, self._column - max(1, n))
        elif final == "G":
            self._column = max(0, min(n, 1000) - 1)
        elif final == "K":
            row = self._cells[self.row]
            if n == 0:
                del row[self._column :]
            else:
                until = len(row) if n == 2 else self._column + 1
                row[:until] = [("", " ")] * until
        elif final == "J" and n == 0:
            del self._cells[self.row][self._column :]
            del self._cells[self.row + 1 :]
        if final in ("E", "F"):
            self._column = 0

    def _extend(self) -> None:
        while len(self._cells) <= self.row:
            self._cells.append([])
        if (over := len(self._cells) - MOST_ROWS) > 0:
            del self._cells[:over]
            self.row, self.top = self.row - over, max(0, self.top - over)


def _without_overdrawn(data: bytes) -> bytes:
    """Drop states of a line that is redrawn very often: only the last ones matter."""
    if data.count(b"\r") < MOST_STATES or b"\n" in data:
        return data
    return b"\r".join(data.split(b"\r")[-MOST_STATES:])


def _row_text(cells: list[tuple[str, str]]) -> str:
    text, style = "", ""
    for of, character in cells:
        if of != style:
            text += ("\x1b[0m" if style else "") + of
            style = of
        text += character
    return (text + "\x1b[0m") if style else text.rstrip(" ")
