"""The code of a pool's worker processes.

A worker reads tasks from one channel, runs them one after another and answers each on another channel. Each
function is sent once and kept by number. Arguments are pickled separately from the record around them, so
that arguments that cannot be unpickled here fail only their own task.
"""

from __future__ import annotations

import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cmpi._transport import pickling
from cmpi.channels.receiver import Receiver
from cmpi.channels.sender import Sender
from cmpi.errors import RemoteTraceback
from cmpi.identifiers import Pid
from cmpi.pool import shared
from cmpi.pool.claims import Claims
from cmpi.processes.when_ended import when_ended

# The pool sends lists of records (kind, number, function, body, buffers).
FUNCTION, TASK, CHUNK, FORGET, BUFFER, DROP = range(6)
# A worker answers (kind, number of the task or buffer, ...).
UP, START_FAILED, VALUE, ERROR, LEFT_OUT, HAS_BUFFER = range(6)
OUTPUT_BYTES = 64 * 1024  # of a task's output are kept


def packed(value: object, name: str = "value") -> tuple[bytes, list[Any]]:
    """Pickle a value with its large buffers, as a part of a message. Raises: NotPicklable."""
    message = pickling.dumps(value, name)
    if isinstance(message, bytes):
        return message, []
    import numpy as np

    return message.body, [np.frombuffer(buffer, np.uint8) for buffer in message.buffers]


def work(
    parent: Pid,
    name: str,
    buffers: str,
    initializer: Callable[..., object] | None,
    arguments: tuple[Any, ...],
    pass_on: Callable[[Any], object] | None = None,
) -> None:
    """Run tasks until the pool closes its channel or ends.

    Args:
        parent: The pool's process.
        name: The name of the channels to and from it.
        buffers: The name of the pool's hoisted buffers.
        initializer: Called first, with its arguments.
        pass_on: Called with each task before it runs.
    """
    when_ended(parent, lambda: os._exit(0), "cmpi-pool-parent")  # even in the middle of a task
    attached = shared.attach(buffers)
    answers = Sender[Any](parent, name=name)
    tasks = Receiver[Any](parent, name=name)
    try:
        if initializer is not None:
            initializer(*arguments)
    except BaseException as error:
        answers.send((START_FAILED, *_error(error)))
        answers.close()
        return
    claims = Claims(shared.path_of(attached.folder, buffers, name) if pass_on is None else "")
    answers.send((UP, attached.host, claims.shared))
    run(tasks if pass_on is None else _passed_on(tasks, pass_on), answers, attached, claims)


def work_as_rank(
    parent: Pid, name: str, buffers: str, initializer: Any, arguments: tuple[Any, ...]
) -> None:
    """Run tasks as one rank of an MPI world.

    Rank 0 talks to the pool and passes tasks on to the other ranks, so that all call the same function at
    the same time. The result is that of rank 0.

    Rank 0 waits for the first message of each other rank before it passes on the first task. Without
    shared memory, a task that calls MPI could otherwise keep the connections to them from being made:
    mpi4py duplicates a communicator without letting go of the GIL.
    """
    from cmpi.processes.process import pid, world

    ranks = world()
    if pid() == ranks[0]:
        starting = [Receiver[None](rank, name=name) for rank in ranks[1:]]
        others = Sender[Any].broadcast(ranks[1:], name=name)

        def pass_on(task: Any) -> None:
            while starting:
                starting.pop().recv()
            others.send(task)

        work(parent, name, buffers, initializer, arguments, pass_on)
        others.close()
        return
    if initializer is not None:
        initializer(*arguments)
    Sender[None](ranks[0], name=name).send(None)
    run(Receiver[Any](ranks[0], name=name), None, shared.attach(buffers), Claims(""))


def _passed_on(tasks: Iterable[Any], pass_on: Callable[[Any], object]) -> Iterator[Any]:
    for task in tasks:
        pass_on(task)
        yield task


def run(
    tasks: Iterable[Any], answers: Sender[Any] | None, attached: shared.Attached, claims: Claims
) -> None:
    """Run tasks until the channel ends. Without `answers`, an exception ends the process."""
    functions: dict[int, Any] = {}
    output = _TaskOutput.install()
    for kind, number, function, body, buffers in _records(tasks):
        if kind == FUNCTION:
            functions[number] = (body, buffers)
            continue
        if kind not in (TASK, CHUNK):
            if _keep(kind, number, buffers, functions, attached) and answers is not None:
                answers.send((HAS_BUFFER, number))
            continue
        if not claims.begin():
            if answers is not None:
                answers.send((LEFT_OUT, number))
            continue
        output.begin()
        begin_s = time.perf_counter()
        try:
            call = functions[function]
            if type(call) is tuple:  # it is unpickled with the first task that needs it, which then fails
                call = functions[function] = shared.unpacked(*call)
            arguments = shared.unpacked(body, buffers)
            value = call(*arguments[0], **arguments[1]) if kind == TASK else run_chunk(call, *arguments)
            answer: Any = (VALUE, number, time.perf_counter() - begin_s, *packed(value, "the result"))
        except (Exception, SystemExit) as error:
            if answers is None:
                raise
            answer = (ERROR, number, time.perf_counter() - begin_s, *_error(error))
        del body, buffers
        arguments = value = None
        if answers is not None:
            answers.send((*answer, output.taken()))
        answer = None


def _records(messages: Iterable[list[Any]]) -> Iterator[Any]:
    """Yield the records of the messages, without keeping a reference to the previous one."""
    for records in messages:
        records.reverse()
        while records:
            yield records.pop()


def _keep(
    kind: int, number: int, buffers: list[Any], functions: dict[int, Any], attached: shared.Attached
) -> bool:
    """Carry out a record that is not a task; True if all workers of this host can see a new buffer."""
    if kind == BUFFER:
        return attached.put(number, buffers[0])
    if kind == FORGET:
        functions.pop(number, None)
    else:
        attached.drop(number)
    return False


def run_chunk(call: Callable[..., Any], items: list[Any], several: bool) -> tuple[list[Any], Any, float]:
    """Return the results of the items up to the first that raised, its exception (see `exception`) or None,
    and how many seconds all took."""
    results: list[Any] = []
    begin_s = time.perf_counter()
    append = results.append
    try:
        if several:
            for item in items:
                append(call(*item))
        else:
            for item in items:
                append(call(item))
    except Exception as error:
        return results, _error(error), time.perf_counter() - begin_s
    return results, None, time.perf_counter() - begin_s


def exception(body: bytes, buffers: list[Any]) -> BaseException:
    """The exception that `_error` packed, or the one that unpickling it raised."""
    try:
        error, text = shared.unpacked(body, buffers)
    except BaseException as failed:
        return failed
    error.__cause__ = RemoteTraceback(text)
    return error  # type: ignore[no-any-return]


def _error(error: BaseException) -> tuple[bytes, list[Any]]:
    """Pack an exception with its traceback, to be raised elsewhere. An exception that cannot be pickled is
    replaced by a RuntimeError with its text."""
    text = "".join(traceback.format_exception(type(error), error, _trimmed(error)))
    error.__traceback__ = None
    try:
        body, buffers = packed((error, text))
        again = shared.unpacked(body, buffers)[0]
        if type(again) is type(error) or isinstance(again, BaseException):
            return body, buffers
    except BaseException:
        pass
    return packed((RuntimeError(f"{type(error).__name__}: {_text(error)}"), text))


def _trimmed(error: BaseException) -> Any:
    """The traceback, beginning at the task's own function."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace or error.__traceback__


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be made)"


class _TaskOutput:
    """Keeps a copy of what tasks print, for `future.output()`."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._left = 0

    @classmethod
    def install(cls) -> _TaskOutput:
        """Start copying what is written to sys.stdout and sys.stderr."""
        output = cls()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                output._tee(stream)
        return output

    def _tee(self, stream: io.TextIOWrapper) -> None:
        write = stream.write

        def keep(text: str) -> int:
            if self._left > 0:
                self._texts.append(text[: self._left])
                self._left -= len(text)
            return write(text)

        stream.write = keep  # type: ignore[method-assign]

    def begin(self) -> None:
        """A task begins."""
        if self._left != OUTPUT_BYTES:
            self._texts.clear()
            self._left = OUTPUT_BYTES

    def taken(self) -> str:
        """Return the task's output."""
        return "".join(self._texts) if self._texts else ""
