"""Formats the output of a job: takes output events, returns bytes for the terminal.

There are four forms. `human`: each line begins with the name of its process. `headings`: a title whenever
the process changes, with its lines indented below. `plain`: only the bytes, in whole lines. `json`: one
object per line.

A line is held until its end has come. On a terminal, an unfinished line is shown in status lines below the
text, redrawn in place. Elsewhere it is printed after `FLUSH_AFTER_S` (a prompt), or, if the program
redraws it (a progress bar), in its current state every `STATE_S`.
"""

from __future__ import annotations

from cmpi._core.output import human_form
from cmpi._core.output.human_form import HumanForm
from cmpi._core.output.json_form import json_data, json_event, json_line
from cmpi._core.output.places import Paper, Terminal
from cmpi._core.output.spawn_notes import SpawnNotes
from cmpi._core.output.speaker import Speaker
from cmpi._core.output.streams import OutputStream
from cmpi._core.output.terminal_text import split_characters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from cmpi.identifiers import ExitStatus

    Printed: TypeAlias = list[tuple[int, bytes]]

FLUSH_AFTER_S = 0.2  # a line without end is printed
SHOW_AFTER_S = 0.1  # or shown, on a terminal
INTERRUPT_AFTER_S = 1.0  # or printed though another process is in the middle of a line
LONGEST_S = 10.0  # the longest wait for the end of a line while earlier output is stuck
STATE_S = 10.0  # between two states of a line that is redrawn, where it cannot be redrawn
FIRST_STATE_S = 2.0  # before the first of them
FAILED_S = 0.3  # a failure waits this long for the end of the job, whose report names it
TAIL_BYTES = 4096  # of stderr, kept for the closing report
FAR_LINES = 40  # more than a screen shows
QUIET, NORMAL, VERBOSE = 0, 1, 2


class Formatter:
    """The state machine: events in, `(destination, bytes)` out; destination is 1 or 2.

    Args:
        form: "human", "headings", "plain" or "json".
        colour: Whether escape sequences may be used.
        one_place: Whether both destinations are the same file or terminal: then all goes to 1.
        terminals: The destinations whose status lines can be redrawn.
        utf8: Whether they show more than ASCII.
        verbosity: QUIET, NORMAL or VERBOSE: which starts and ends are shown.
        epoch_s: What to add to the times of events to get seconds since 1970, for JSON.

    Not thread-safe; never blocks. Time comes in with the events, in seconds of any clock.
    """

    def __init__(
        self,
        form: str,
        *,
        colour: bool = False,
        one_place: bool = False,
        terminals: tuple[int, ...] = (),
        utf8: bool = True,
        verbosity: int = NORMAL,
        epoch_s: float = 0.0,
    ) -> None:
        self._json, self._epoch_s, self._verbosity = form == "json", epoch_s, verbosity
        human = form in ("human", "headings")
        self._human = HumanForm(headings=form == "headings", colour=colour, utf8=utf8) if human else None
        self._places: dict[int, Paper | Terminal] = {}
        for place in (1,) if one_place else (1, 2):
            screen = human and place in terminals
            self._places[place] = Terminal(self._human) if screen and self._human else Paper(self._human)
        if one_place:
            self._places[2] = self._places[1]
        self._one_place = one_place
        self._speakers: dict[int, Speaker] = {}
        self._met = 0  # how many speakers there have been
        self._streams: dict[tuple[int, int], OutputStream] = {}
        self._waiting: dict[tuple[int, int], None] = {}  # streams with an unfinished line, oldest first
        self._notes = SpawnNotes()
        self._failed: list[tuple[float, Speaker, str]] = []  # with the time at which to report it
        # The end of stderr, and the position in the text then.
        self._tails: dict[int, tuple[bytes, int]] = {}

    # -- events ----------------------------------------------------------------------------

    def born(self, who: Speaker, now_s: float) -> Printed:
        """A process was started."""
        self.met(who)
        if self._json:
            return [(1, json_event("spawn", who, now_s + self._epoch_s, what=who.label))]
        if self._human is None:
            return []
        parent = None if who.parent is None else self._speakers.get(who.parent)
        if parent is None or self._verbosity == QUIET:
            return []
        self._notes.add(parent, who, now_s)
        return self._note_spawns(now_s) if self._verbosity == VERBOSE else []

    def met(self, who: Speaker) -> None:
        """A speaker that is not a process of the job will write."""
        who.number, self._met = self._met, self._met + 1
        self._speakers[who.pid] = who
        if self._human is not None:
            self._human.met(who)

    def named(self, pid: int, name: str, title: str) -> None:
        """A process gets another name."""
        who = self._speakers[pid]
        who.name, who.title = name, title
        if self._human is not None:
            self._human.met(who)

    def output(self, pid: int, fd: int, data: bytes, now_s: float) -> Printed:
        """Bytes from descriptor `fd`; no bytes mean that it was closed."""
        who, key = self._speakers[pid], (pid, fd)
        printed = self._note_spawns(now_s) if self._notes.awaits(pid) else []
        stream = self._streams.get(key)
        if stream is None:
            patience_s = float("inf") if self._json else FLUSH_AFTER_S
            stream = self._streams[key] = OutputStream(
                screen=self._human is not None, patience_s=patience_s
            )
        shown = stream.shown
        if data:
            whole = stream.take(data, now_s)
            self._wait(key, stream)
        else:
            whole = stream.end(now_s)
            self._waiting.pop(key, None)
            del self._streams[key]
        if whole:
            printed += self._print(who, fd, whole, now_s)
        if fd == 2 and data:
            tail = (self._tails[pid][0] if pid in self._tails else b"") + data
            self._tails[pid] = tail[-TAIL_BYTES:], self._places[2].finished_lines
        if shown:
            self._status_changed(fd)
        return printed + self._draw(now_s)

    def typed(self, pid: int, data: bytes, now_s: float) -> Printed:
        """The user has typed something for this process, and the terminal has echoed it."""
        for fd in (1, 2):
            place = self._places[fd]
            if isinstance(place, Terminal) and (fd == 1 or not self._one_place):
                place.typed(data)
            stream = self._streams.get((pid, fd))
            if isinstance(place, Terminal) and stream is not None and stream.rest and not stream.redrawn:
                # Its prompt is answered: what is on the screen is now a whole line.
                line = stream.end(now_s) + data.partition(b"\n")[0] + b"\n"
                self._waiting.pop((pid, fd), None)
                place.add(self._speakers[pid], _MARKS[fd], line)
                data = b""
        return self._draw(now_s)

    def died(self, pid: int, status: ExitStatus, usage: Mapping[str, float], now_s: float) -> Printed:
        """A process has ended. Its streams may still carry output of its own children."""
        who = self._speakers[pid]
        printed: Printed = []
        for fd in (1, 2):
            stream = self._streams.get((pid, fd))
            if stream is not None and stream.rest:
                printed += self._finish(who, fd, stream, now_s)
        if status.ok:
            self._tails.pop(pid, None)
        if self._json:
            fields = {"code": status.code, "signal": status.signal, "verdict": status.verdict}
            line = json_event("exit", who, now_s + self._epoch_s, ok=status.ok, **fields, **usage)
            printed.append((1, line))
        elif self._human is not None and not status.ok:
            self._failed.append((now_s + FAILED_S, who, str(status)))
        elif self._human is not None and self._verbosity == VERBOSE:
            printed += self._note(who, human_form.ENDED, str(status), now_s)
        return printed + self._draw(now_s)

    def forget(self, pid: int) -> None:
        """A process will write nothing more, and nobody will ask for its `tail`."""
        self._speakers.pop(pid, None)
        self._tails.pop(pid, None)
        for fd in (1, 2):
            self._streams.pop((pid, fd), None)
            self._waiting.pop((pid, fd), None)

    def ended(self, fields: Mapping[str, object], now_s: float) -> Printed:
        """The job has ended: print all that waits, except notes on failures, which the report names."""
        self._failed.clear()
        printed = self._note_spawns(now_s)
        for pid, fd in list(self._waiting):
            printed += self._finish(self._speakers[pid], fd, self._streams[pid, fd], now_s)
        if self._json:
            event = {"event": "end", "time": round(now_s + self._epoch_s, 6), **fields}
            printed.append((1, json_line(event)))
        return printed + self._draw(now_s, at_once=True)

    def say(self, text: str, now_s: float, *, alarm: bool = False) -> Printed:
        """Print a message of cmpirun itself, in whole lines, on stderr; the first line of an `alarm` is
        red."""
        if alarm and self._human is not None:
            first, newline, rest = text.partition("\n")
            text = self._human.painted(first, human_form.RED) + newline + rest
        data = text.encode("utf-8", "surrogateescape")
        place = self._places[2]
        if isinstance(place, Terminal):
            place.add(None, "", data)
            return self._draw(now_s, at_once=True)
        return [(self._destination(2), place.add(None, "", data, now_s))]

    def resized(self, fd: int, columns: int, rows: int) -> None:
        """The size of the terminal behind a destination."""
        place = self._places[fd]
        if isinstance(place, Terminal):
            place.columns, place.rows = columns, rows

    def tick(self, now_s: float) -> Printed:
        """Show what has waited long enough."""
        printed: Printed = []
        due_s = self._notes.deadline_s()
        if due_s is not None and due_s <= now_s:
            printed += self._note_spawns(now_s)
        while self._failed and self._failed[0][0] <= now_s:
            _, who, text = self._failed.pop(0)
            printed += self._note(who, human_form.FAILED, text, now_s)
        for key in list(self._waiting):
            who, fd, stream = self._speakers[key[0]], key[1], self._streams[key]
            if done := stream.tick(now_s):
                printed += self._print(who, fd, done, now_s)
                self._wait(key, stream)
            if key in self._waiting and self._due_s(key, stream) <= now_s:
                printed += self._show(key, stream, now_s)
        return printed + self._draw(now_s)

    def late(self, now_s: float) -> None:
        """Earlier output is not written yet, and the ends of lines may be stuck behind it: let unfinished
        lines wait on, up to a limit."""
        for key in self._waiting:
            stream, place = self._streams[key], self._places[key[1]]
            if not isinstance(place, Terminal) and now_s < stream.began_s + LONGEST_S:
                stream.since_s = now_s

    def deadline_s(self) -> float | None:
        """When `tick` is due; None if nothing is."""
        times: list[float | None] = [self._due_s(key, self._streams[key]) for key in self._waiting]
        times += [self._streams[key].deadline_s for key in self._waiting]
        times += [place.due_s() for place in self._places.values() if isinstance(place, Terminal)]
        times += [self._notes.deadline_s(), self._failed[0][0] if self._failed else None]
        return min((t for t in times if t is not None and t < float("inf")), default=None)

    def tail(self, pid: int) -> bytes:
        """The end of what a process wrote to stderr, unless it is still visible."""
        tail, at = self._tails.get(pid, (b"", 0))
        return b"" if not self._json and self._places[2].finished_lines - at < FAR_LINES else tail

    # -- lines without end -------------------------------------------------------------------

    def _wait(self, key: tuple[int, int], stream: OutputStream) -> None:
        if stream.rest:
            self._waiting.setdefault(key)
        else:
            self._waiting.pop(key, None)

    def _finish(self, who: Speaker, fd: int, stream: OutputStream, now_s: float) -> Printed:
        """The rest of a stream that has ended."""
        if stream.shown:
            self._status_changed(fd)
        self._waiting.pop((who.pid, fd), None)
        return self._print(who, fd, stream.end(now_s), now_s)

    def _due_s(self, key: tuple[int, int], stream: OutputStream) -> float:
        """When the unfinished line of a stream must be shown."""
        place = self._places[key[1]]
        if isinstance(place, Terminal):
            return float("inf") if stream.shown else stream.since_s + SHOW_AFTER_S
        if self._json:
            return stream.since_s + FLUSH_AFTER_S
        if stream.redrawn:
            wait_s = STATE_S if stream.shown else FIRST_STATE_S
            return stream.since_s + wait_s if stream.changed else float("inf")
        if place.busy(self._speakers[key[0]], _MARKS[key[1]]):
            return max(stream.since_s + FLUSH_AFTER_S, place.unfinished_s + INTERRUPT_AFTER_S)
        return stream.since_s + FLUSH_AFTER_S

    def _show(self, key: tuple[int, int], stream: OutputStream, now_s: float) -> Printed:
        who, fd = self._speakers[key[0]], key[1]
        if isinstance(self._places[fd], Terminal):
            stream.shown = True
            self._status_changed(fd)
            return []
        if stream.redrawn and not self._json:
            state = b"".join(row + b"\n" for row in stream.rows() if row)
            stream.shown, stream.changed, stream.since_s = True, False, now_s
            return self._print(who, fd, state, now_s) if state else []
        whole, stream.rest = split_characters(stream.rest)
        self._waiting.pop(key)
        return self._print(who, fd, whole, now_s) if whole else []

    # -- places ------------------------------------------------------------------------------

    def _print(self, who: Speaker, fd: int, data: bytes, now_s: float) -> Printed:
        if self._json:
            return [(1, json_event("output", who, now_s + self._epoch_s, fd=fd, **json_data(data)))]
        place = self._places[fd]
        if isinstance(place, Terminal):
            place.add(who, _MARKS[fd], data if data.endswith(b"\n") else data + b"\n")
            return []
        return [(self._destination(fd), place.add(who, _MARKS[fd], data, now_s))]

    def _note(self, who: Speaker, mark: str, text: str, now_s: float) -> Printed:
        data, place = text.encode("utf-8", "backslashreplace") + b"\n", self._places[1]
        if isinstance(place, Terminal):
            place.add(who, mark, data)
            return []
        return [(1, place.add(who, mark, data, now_s))]

    def _note_spawns(self, now_s: float) -> Printed:
        return [
            p for who, text in self._notes.take() for p in self._note(who, human_form.SPAWNED, text, now_s)
        ]

    def _destination(self, fd: int) -> int:
        return 1 if self._one_place else fd

    def _status_changed(self, fd: int) -> None:
        place = self._places[fd]
        if isinstance(place, Terminal):
            place.status_changed()

    def _draw(self, now_s: float, *, at_once: bool = False) -> Printed:
        """Redraw the terminals that are due."""
        printed = []
        for fd, place in self._places.items():
            if not isinstance(place, Terminal) or (fd == 2 and self._one_place):
                continue
            due_s = place.due_s()
            if due_s is not None and (due_s <= now_s or at_once):
                data = place.draw(self._status(fd, place), now_s)
                if data:
                    printed.append((fd, data))
        return printed

    def _status(self, fd: int, place: Terminal) -> list[bytes]:
        """The status lines: the unfinished line of each process."""
        shown = [
            key for key in self._waiting if self._streams[key].shown and self._destination(key[1]) == fd
        ]
        shown.sort(key=lambda key: not self._streams[key].redrawn)  # prompts come last, where the cursor is
        rows = [(key, row) for key in shown for row in self._streams[key].rows()]
        if len(rows) > place.most_status_lines:
            rows = [(key, self._streams[key].rows()[-1]) for key in shown]  # the last row of each
        lines = [place.status_row(self._speakers[pid], _MARKS[of], row) for (pid, of), row in rows]
        if len(lines) > place.most_status_lines:
            n = len(lines) - place.most_status_lines + 1
            lines = [place.note_row(f"... and {n} more"), *lines[n:]]
        return lines


_MARKS = {1: human_form.OUT, 2: human_form.ERR}
