"""Reads the Python stacks of a rank, whether it uses cmpi or not.

On a signal, faulthandler in the rank writes the stacks to a memory file that `rank_main` keeps open. The
monitor finds that file among the rank's descriptors. If it is missing, the rank is not a Python program
started by `rank_main`, or has exec'ed another program; then it is not sent the signal.

A second signal tells whether the rank makes progress: its handler is in Python, and runs only once the main
thread has returned from the C call that it is in.
"""

from __future__ import annotations

import os
import time

from cmpi._core.protocol.monitor_root import RankStacks
from cmpi._runtime.process.rank_main import DUMP_SIGNAL, RETURN_SIGNAL, RETURNED, STACKS_FILE
from cmpi._transport import clock

LONGEST_S = 5.0  # how long the rank may take to write its stacks; it may be stopped, or block the signal
STEP_S = 0.01  # between looks at the file: there is nothing to wait on
BUSY = 0.01  # of a core; a rank that waits in MPI uses all that it can get
MOST_BYTES = 1 << 20
_OUTERMOST = "/cmpi/_runtime/process/rank_main.py"
_TICKS = os.sysconf("SC_CLK_TCK")


class RankStacksQuestions:
    """The root's questions about one rank, and the answers to them. Never blocks."""

    def __init__(self) -> None:
        self._pid = 0
        self._asked: list[bool] = []  # the questions being answered; whether each is `watching`
        self._path, self._went_on, self._end_s = "", True, 0.0
        self._cpu_s, self._at_s = 0.0, 0.0  # CPU time of the main thread, and when it was read

    def ask(self, pid: int, watching: bool) -> RankStacks | None:
        """Ask the rank with this OS pid (0: none runs). Returns an answer if it is known without
        waiting."""
        path = _file(pid) if pid else ""
        if path and not _catches(pid, DUMP_SIGNAL):
            return RankStacks(watching, "", went_on=False, ending=True)
        if not path or (watching and not self._is_busy(pid)):
            return RankStacks(watching, "")
        if self._asked:
            self._asked.append(watching)
            return None
        try:
            with open(path, "r+b", buffering=0) as file:
                self._went_on = RETURNED in file.read(MOST_BYTES)
                file.truncate(0)
            os.kill(pid, DUMP_SIGNAL)
        except OSError:
            return RankStacks(watching, "")  # it has just ended
        self._pid, self._path, self._end_s = pid, path, clock.now_s() + LONGEST_S
        self._asked.append(watching)
        return None

    @property
    def deadlines_s(self) -> list[float]:
        """When to call `answers`: a list of one time, or none."""
        return [clock.now_s() + STEP_S] if self._asked else []

    def answers(self) -> list[RankStacks]:
        """The answers, once the rank has written everything."""
        if not self._asked:
            return []
        text = _read(self._path)
        if not _is_whole(text) and clock.now_s() < self._end_s:
            return []
        asked, self._asked = self._asked, []
        if True in asked and text:
            try:
                os.kill(self._pid, RETURN_SIGNAL)  # its handler provides `went_on` for the next question
            except OSError:
                pass  # it has just ended
        text = with_source(text.replace(RETURNED.decode(), ""))
        return [RankStacks(watching, text, self._went_on) for watching in asked]

    def _is_busy(self, pid: int) -> bool:
        """Whether the main thread has been using its core since the last question."""
        try:
            with open(f"/proc/{pid}/task/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            return False
        cpu_s, now_s = (int(fields[11]) + int(fields[12])) / _TICKS, time.monotonic()
        first, used_s, passed_s = not self._at_s, cpu_s - self._cpu_s, now_s - self._at_s
        self._cpu_s, self._at_s = cpu_s, now_s
        return not first and used_s > BUSY * passed_s


def _file(pid: int) -> str:
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):
            if os.readlink(f"{folder}/{name}").startswith(f"/memfd:{STACKS_FILE}"):
                return f"{folder}/{name}"
    except OSError:
        pass  # it has ended, or belongs to another user by now
    return ""


def _catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for this signal."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            caught = next(line for line in file if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return True
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _is_whole(text: str) -> bool:
    """Whether the text ends like the stack of the main thread, the last that faulthandler writes."""
    last = text.rstrip("\n").rpartition("\n")[2]
    return text.endswith("\n") and (
        (_OUTERMOST in last and last.endswith("in <module>"))
        or last.strip() in ("...", "<no Python frame>")
    )


def with_source(text: str) -> str:
    """faulthandler's output, with the source below each line, and without the frames that start
    programs."""
    lines: list[str] = []
    for line in text.splitlines():
        file, found, rest = line.strip().removeprefix('File "').partition('", line ')
        if not found:
            lines.append(line)
        elif not file.endswith(_OUTERMOST) and file != "<frozen runpy>":
            lines.append(line)
            lines += [f"    {source}" for source in [_source(file, rest.partition(" ")[0])] if source]
    return "\n".join(lines) + "\n" if lines else ""


def _source(path: str, number: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for count, line in enumerate(file, 1):
                if str(count) == number:
                    return line.strip()
    except (OSError, ValueError):
        pass  # not a file, such as <string>
    return ""
