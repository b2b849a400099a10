"""Runs notebook cells on every rank of a group, which persists between cells; used by `cmpi.ipython`."""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

from cmpi._base.units import format_ranks
from cmpi._runtime.process import context
from cmpi.channels.receiver import Receiver
from cmpi.channels.select import select
from cmpi.channels.sender import Sender
from cmpi.errors import CellFailed, EndOfChannel, PeerExited
from cmpi.identifiers import Pid
from cmpi.processes import process

CHANNEL = "cells"
PATIENCE_S = 1.0  # ranks that fail in the same way do so within this time
RUN, GET, SET = "run", "get", "set"  # orders; answered by VALUE or ERROR
# Answers; the first two precede the others during a RUN.
BEGUN, OUT, VALUE, ERROR = "begun", "out", "value", "error"


class CellGroup:
    """The group of ranks, in the notebook's process.

    Args:
        n: The number of ranks.

    Blocks: until there is room for them.
    """

    def __init__(self, n: int) -> None:
        self.pids = process.spawn_group(n, serve, name="cells")
        self._claim = context.current().claim
        self._senders = [Sender[Any](pid, name=CHANNEL) for pid in self.pids]
        self._receivers = [Receiver[Any](pid, name=CHANNEL) for pid in self.pids]
        self._cells = 0
        self._begun: set[int] = set()  # ranks that run a cell and can be interrupted
        self._interrupts = 0  # how often this cell was interrupted

    def run(
        self,
        code: str,
        ranks: Iterable[int],
        show: Callable[[int, str], None],
        note: Callable[[str], None],
    ) -> None:
        """Run a cell; `show` is called with a rank and its output, `note` with a note for the user.

        Raises:
            CellFailed: The cell raised on some ranks.
            PeerExited: A rank has ended, and the group with it.
            KeyboardInterrupt: On the second Ctrl-C, which ends the group; the first interrupts the ranks.
                It has the tracebacks of ranks on which the cell had raised.

        Blocks: until all these ranks have run the cell.
        """
        self._cells += 1
        self._claim([pid.value for pid in self.pids])  # what they spawn now belongs to this cell
        self._ask(ranks, (RUN, f"<cell {self._cells} of %%cmpi>", code), show, note)

    def get(self, name: str) -> list[Any]:
        """Return the value of a variable on each rank. Raises, blocks: as `run`."""
        answers = self._ask(range(len(self.pids)), (GET, name, None))
        return [answers[rank] for rank in sorted(answers)]

    def set(self, name: str, value: object) -> None:
        """Set a variable to this value on each rank. Raises, blocks: as `run`."""
        self._ask(range(len(self.pids)), (SET, name, value))

    def end(self) -> None:
        """End all ranks at once."""
        for pid in self.pids:
            process.kill(pid)
        for pid in self.pids:
            process.wait(pid)

    def _ask(
        self,
        ranks: Iterable[int],
        order: object,
        show: Callable[[int, str], None] = lambda rank, text: None,
        note: Callable[[str], None] = lambda text: None,
    ) -> dict[int, Any]:
        waiting = {self._receivers[rank]: rank for rank in ranks}
        values, failed = dict[int, Any](), dict[str, list[int]]()
        noted = False
        with self._passing_interrupts_on(failed):
            for rank in waiting.values():
                self._senders[rank].send(order)
            while waiting:
                try:
                    receiver, (kind, value) = select(
                        *waiting, timeout=PATIENCE_S if failed and not noted else None
                    )
                except TimeoutError:
                    note(_note(failed, waiting.values()))
                    noted = True
                    continue
                rank = waiting[receiver]
                if kind == OUT:
                    show(rank, value)
                    continue
                if kind == BEGUN:
                    self._begun.add(rank)
                    if self._interrupts:
                        process.kill(self.pids[rank], signal.SIGINT)
                    continue
                del waiting[receiver]
                self._begun.discard(rank)
                if kind == ERROR:
                    failed.setdefault(value, []).append(rank)
                else:
                    values[rank] = value
        if failed:
            raise _cell_failed(failed)
        return values

    @contextlib.contextmanager
    def _passing_interrupts_on(self, failed: dict[str, list[int]]) -> Iterator[None]:
        """Pass the first Ctrl-C on to the ranks; the second ends them and raises KeyboardInterrupt here,
        with the tracebacks of the ranks that had failed."""
        self._begun, self._interrupts = set(), 0
        if threading.current_thread() is not threading.main_thread():
            yield  # this thread gets no signals
            return

        def interrupted(number: int, frame: FrameType | None) -> None:
            self._interrupts += 1
            if self._interrupts > 1:
                self.end()
                raise KeyboardInterrupt(*([str(_cell_failed(failed))] if failed else []))
            for rank in list(self._begun):  # the others follow when they have begun
                process.kill(self.pids[rank], signal.SIGINT)

        before = signal.signal(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _cell_failed(failed: dict[str, list[int]]) -> CellFailed:
    return CellFailed({text: sorted(ranks) for text, ranks in failed.items()})


def _note(failed: dict[str, list[int]], running: Iterable[int]) -> str:
    """Say that some ranks have failed while others, which may be waiting for them, still run the cell.

    >>> _note({"Traceback...\\nValueError: no\\n": [1]}, [0])
    'rank 1 raised ValueError: no; still running: 0. Ctrl-C interrupts them, a second one ends the group.'
    """
    raised = "; ".join(
        f"{format_ranks(ranks)} raised {text.rstrip().splitlines()[-1]}" for text, ranks in failed.items()
    )
    still = ", ".join(map(str, sorted(running)))
    return f"{raised}; still running: {still}. Ctrl-C interrupts them, a second one ends the group."


class _Output(io.TextIOBase):
    """Replaces a rank's stdout and stderr while it runs a cell: sends the output to the notebook."""

    def __init__(self, answers: Sender[Any]) -> None:
        self._answers, self._line = answers, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """The file method."""
        whole, newline, self._line = (self._line + text).rpartition("\n")
        if newline:
            self._answers.send((OUT, whole + newline))
        return len(text)

    def flush(self) -> None:
        """The file method."""
        line, self._line = self._line, ""
        if line:
            self._answers.send((OUT, line))


def serve(parent: Pid) -> None:
    """The main loop of a rank: carries out orders until the notebook closes the channel."""
    answers, orders = Sender[Any](parent, name=CHANNEL), Receiver[Any](parent, name=CHANNEL)
    signal.signal(signal.SIGINT, _interrupted)
    variables = sys.modules["__main__"].__dict__
    while True:
        try:
            kind, name, what = orders.recv()
        except (EndOfChannel, PeerExited):
            return
        try:
            answer = VALUE, _obey(kind, name, what, variables, answers)
        except SystemExit:
            raise
        except BaseException as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
                trace = trace.tb_next
            answer = ERROR, "".join(traceback.format_exception(type(error), error, trace))
        answers.send(answer)


_may_be_interrupted = False  # True while this rank runs a cell's code


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Interrupt the running cell, once; a signal that arrives after the cell has ended is ignored."""
    global _may_be_interrupted
    if _may_be_interrupted:
        _may_be_interrupted = False
        raise KeyboardInterrupt


def _obey(kind: str, name: str, what: Any, variables: dict[str, Any], answers: Sender[Any]) -> Any:
    global _may_be_interrupted
    if kind == GET:
        return variables[name]
    if kind == SET:
        variables[name] = what
        return None
    output = _Output(answers)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            _may_be_interrupted = True
            answers.send((BEGUN, None))
            _execute(what, name, variables)
        finally:
            _may_be_interrupted = False
            output.flush()
    return None


def _execute(code: str, name: str, variables: dict[str, Any]) -> None:
    """Run a cell, and show the value of its last line, if that is an expression."""
    linecache.cache[name] = len(code), None, code.splitlines(keepends=True), name
    tree, last = ast.parse(code, name), None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    exec(compile(tree, name, "exec"), variables)
    if last is not None:
        value = eval(compile(last, name, "eval"), variables)
        if value is not None:
            print(repr(value))
