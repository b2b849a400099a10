"""What the bridge prints: output events in, bytes for the terminal out.

Three forms. `human`: a heading with the pid whenever another process speaks, its output
indented below. `plain`: the bytes themselves, in whole lines. `json`: an object a line.

A line is kept until its end has come, or nothing has followed for `FLUSH_AFTER_S` (a prompt), or
it grows beyond `LONG_LINE_BYTES`; and then without the start of a character whose end is missing.
"""

from __future__ import annotations

from cmpi.identifiers import ExitStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FLUSH_AFTER_S = 0.2
LONG_LINE_BYTES = 65536
TAIL_BYTES = 4096  # of stderr, kept for the closing report
_COLOURS = (31, 32, 33, 34, 35, 36, 91, 92, 93, 94, 95, 96)


class Speaker:
    """A process as the bridge shows it."""

    def __init__(self, pid: int, parent: int | None, host: str, rank: int, label: str) -> None:
        self.pid, self.parent, self.host, self.rank, self.label = pid, parent, host, rank, label
        self.name = f"{pid:07x}"


class _Stream:
    """One descriptor of one process: what was read and not yet printed."""

    def __init__(self) -> None:
        self.rest = b""
        self.since_s = 0.0


def split_lines(data: bytes) -> tuple[bytes, bytes]:
    """Whole lines, and the rest.

    >>> split_lines(b"a\\nb\\nc")
    (b'a\\nb\\n', b'c')
    """
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def split_characters(data: bytes) -> tuple[bytes, bytes]:
    """Whole UTF-8 characters, and the start of one whose end is missing (at most 3 bytes).

    Bytes that are no UTF-8 at all count as whole, so nothing is held for ever.

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


class Formatter:
    """The machine: events in, `(destination, bytes)` out; destination is 1 or 2.

    Args:
        form: "human", "plain" or "json".
        colour: Whether escape sequences may be used.
        one_terminal: Whether both destinations are the same place, so that a heading for one
            counts for the other.
        epoch_s: What to add to the times of events to get seconds since 1970, for JSON.

    Not thread-safe; never blocks. Time comes in with the events, in seconds of any clock.
    """

    def __init__(
        self, form: str, *, colour: bool = False, one_terminal: bool = False, epoch_s: float = 0.0
    ) -> None:
        self._form, self._colour, self._one_terminal = form, colour, one_terminal
        self._epoch_s = epoch_s
        self._streams: dict[tuple[int, int], _Stream] = {}
        self._waiting: dict[tuple[int, int], Speaker] = {}  # streams with a rest
        # By destination: who spoke last, on which descriptor, and whether in the middle of a line.
        self._last: dict[int, tuple[int, int, bool]] = {}
        self._tails: dict[int, bytes] = {}

    def output(self, who: Speaker, fd: int, data: bytes, now_s: float) -> list[tuple[int, bytes]]:
        """Bytes from descriptor `fd`; none means that it was closed."""
        key = (who.pid, fd)
        stream = self._streams.setdefault(key, _Stream())
        if fd == 2 and data:
            self._tails[who.pid] = (self._tails.get(who.pid, b"") + data)[-TAIL_BYTES:]
        whole, rest = split_lines(stream.rest + data if stream.rest else data)
        if not data:
            whole, rest = whole + rest, b""
        elif len(rest) > LONG_LINE_BYTES:
            more, rest = split_characters(rest)
            whole += more
        stream.rest, stream.since_s = rest, now_s
        if rest:
            self._waiting[key] = who
        else:
            self._waiting.pop(key, None)
        if not data:
            del self._streams[key]
        return self._print(who, fd, whole, now_s) if whole else []

    def tick(self, now_s: float) -> list[tuple[int, bytes]]:
        """Show what has waited long enough for the end of its line."""
        printed: list[tuple[int, bytes]] = []
        for (pid, fd), who in list(self._waiting.items()):
            stream = self._streams[pid, fd]
            if stream.since_s + FLUSH_AFTER_S <= now_s:
                whole, stream.rest = split_characters(stream.rest)
                del self._waiting[pid, fd]
                if whole:
                    printed += self._print(who, fd, whole, now_s)
        return printed

    def deadline_s(self) -> float | None:
        """When `tick` has something to do, if ever."""
        if not self._waiting:
            return None
        return min(self._streams[key].since_s for key in self._waiting) + FLUSH_AFTER_S

    def born(self, who: Speaker, now_s: float) -> list[tuple[int, bytes]]:
        """A process was started."""
        if self._form == "json":
            return [(1, self._json("spawn", who, now_s, what=who.label))]
        if self._form == "plain" or who.parent is None:
            return []
        return self._note(who.parent, f"spawned: {self._name(who.pid)}")

    def died(
        self, who: Speaker, status: ExitStatus, usage: Mapping[str, float], now_s: float
    ) -> list[tuple[int, bytes]]:
        """A process has ended. Its streams may still bring what its own children write."""
        printed: list[tuple[int, bytes]] = []
        for fd in (1, 2):
            stream = self._streams.get((who.pid, fd))
            if stream is not None and stream.rest:
                whole, stream.rest = stream.rest, b""
                self._waiting.pop((who.pid, fd), None)
                printed += self._print(who, fd, whole, now_s)
        if status.ok:
            self._tails.pop(who.pid, None)
        if self._form == "json":
            fields = {"code": status.code, "signal": status.signal, "verdict": status.verdict}
            printed.append((1, self._json("exit", who, now_s, ok=status.ok, **fields, **usage)))
        elif self._form == "human":
            printed += self._note(who.pid, f"exited: {status}")
        return printed

    def tail(self, pid: int) -> bytes:
        """The last that a process wrote to descriptor 2, at most `TAIL_BYTES`."""
        return self._tails.get(pid, b"")

    # -- forms ---------------------------------------------------------------------------

    def _print(self, who: Speaker, fd: int, data: bytes, now_s: float) -> list[tuple[int, bytes]]:
        if self._form == "json":
            return [(1, self._json("output", who, now_s, fd=fd, **_json_data(data)))]
        place = 1 if self._one_terminal else fd
        head, goes_on = self._turn(place, who.pid, fd)
        unfinished = not data.endswith(b"\n")
        self._last[place] = (who.pid, fd, unfinished)
        if self._form == "plain":
            return [(fd, head + data)]
        body = data if unfinished else data[:-1]
        text = (b"" if goes_on else b"  ") + body.replace(b"\n", b"\n  ")
        return [(fd, head + text + (b"" if unfinished else b"\n"))]

    def _note(self, pid: int, text: str) -> list[tuple[int, bytes]]:
        head, _ = self._turn(1, pid, 0)
        self._last[1] = (pid, 0, False)
        return [(1, head + b"  " + self._paint(text, 2) + b"\n")]

    def _turn(self, place: int, pid: int, fd: int) -> tuple[bytes, bool]:
        """What must stand before the words of this speaker, and whether they go on in its line."""
        last_pid, last_fd, unfinished = self._last.get(place, (None, 0, False))
        if unfinished and (last_pid, last_fd) == (pid, fd):
            return b"", True
        head = b"\n" if unfinished else b""
        if self._form == "human" and last_pid != pid:
            head += self._name(pid).encode() + b"\n"
        return head, False

    def _name(self, pid: int) -> str:
        name = f"{pid:07x}"
        if not self._colour:
            return name
        return f"\x1b[1;{_COLOURS[pid % len(_COLOURS)]}m{name}\x1b[0m"

    def _paint(self, text: str, code: int) -> bytes:
        data = text.encode("utf-8", "backslashreplace")
        if not self._colour:
            return data
        return b"\x1b[%dm" % code + data.replace(b"\x1b[0m", b"\x1b[0m\x1b[%dm" % code) + b"\x1b[0m"

    def _json(self, event: str, who: Speaker, now_s: float, **fields: object) -> bytes:
        import json

        line = {
            "event": event,
            "time": round(now_s + self._epoch_s, 6),
            "pid": who.name,
            "parent": None if who.parent is None else f"{who.parent:07x}",
            "host": who.host,
            "rank": who.rank,
            **fields,
        }
        return json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _json_data(data: bytes) -> dict[str, str]:
    import base64  # both only for this form, and dear in a root that must start quickly

    try:
        return {"data": data.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}
