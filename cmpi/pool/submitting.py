"""Turns a call into a task: numbers its function, pickles its arguments, creates its future."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cmpi._base.interrupts import came_from_handler
from cmpi._runtime.process.condition import UncutCondition
from cmpi._runtime.process.signal_guard import uncut
from cmpi.errors import NotPicklable
from cmpi.pool import worker
from cmpi.pool.functions import Functions, call
from cmpi.pool.future import PoolFuture
from cmpi.pool.handle import Submission

if TYPE_CHECKING:
    from cmpi.pool.group import WorkerGroup
    from cmpi.pool.options import Options
    from cmpi.pool.shared import SharedBuffers

GLANCE_EVERY = 32  # the submitting thread polls for answers after this many submissions


class Submitter:
    """Makes the tasks of one pool. Thread-safe.

    Args:
        functions: The pool's functions.
        buffers: The pool's hoisted buffers.
        max_pending: The most unfinished tasks.
    """

    def __init__(self, functions: Functions, buffers: SharedBuffers, max_pending: int | None) -> None:
        self._functions, self._buffers = functions, buffers
        self._room = None if max_pending is None else UncutCondition()
        self._places = max_pending or 0  # free places for unfinished tasks
        self._numbers = itertools.count()

    def submit(
        self,
        group: WorkerGroup,
        options: Options,
        kind: int,
        fn: Callable[..., Any],
        arguments: tuple[Any, Any],
        label: str,
    ) -> PoolFuture:
        """Create a task and give it to the workers.

        Args:
            group: The workers.
            options: The task's options.
            kind: TASK with (args, kwargs) as arguments, or CHUNK with (items, whether they are tuples).
            fn: The function.
            arguments: See `kind`.
            label: The task's name in error messages.

        Returns:
            The task's future, which has already failed if something cannot be pickled.

        Blocks: while `max_pending` tasks are unfinished, and while it pickles.
        """
        future = None
        try:
            with uncut:
                future = self._submit(group, options, kind, fn, arguments, label)
                if future._number % GLANCE_EVERY == 0:
                    group.receiver.glance()
            return future
        except BaseException as error:
            if future is not None and came_from_handler(error):  # the caller never gets the future
                with uncut:
                    if not future.cancel():
                        future.kill()
            raise

    def _submit(
        self,
        group: WorkerGroup,
        options: Options,
        kind: int,
        fn: Callable[..., Any],
        arguments: tuple[Any, Any],
        label: str,
    ) -> PoolFuture:
        """As `submit`. With `uncut`."""
        if self._room is not None:
            with self._room:
                self._room.wait_for(lambda: self._places)
                self._places -= 1
        future = PoolFuture()
        future._group, future._number = group, next(self._numbers)
        if self._room is not None:
            future.add_done_callback(self._make_room)
        try:
            function = self._functions.number(fn)
            if function is None:  # the function travels as an argument of one that has a number
                args, rest = arguments
                if kind == worker.TASK:
                    function, arguments = self._functions.number(call), ((fn, *args), rest)
                else:
                    function = self._functions.number(worker.run_chunk)
                    kind, arguments = worker.TASK, ((fn, args, rest), {})
            assert function is not None
            packed = self._buffers.pack(arguments, "the arguments", hoist=False)
        except NotPicklable as error:
            if kind == worker.TASK:
                error = self._named(fn, arguments) or error
            future.set_running_or_notify_cancel()
            future.set_exception(error)
            return future
        retries, exceptions, timeout_s = options.retries, options.retry_exceptions, options.timeout
        group.submit(Submission(future, kind, function, packed, label, retries, exceptions, timeout_s))
        return future

    def _named(self, fn: Callable[..., Any], arguments: tuple[Any, Any]) -> NotPicklable | None:
        """Replace the internal names in the error by what the caller wrote."""
        args, kwargs = arguments
        named = {"the function": fn, **{f"argument {i}": each for i, each in enumerate(args)}, **kwargs}
        for name, value in named.items():
            try:
                self._buffers.pack(value, name, hoist=False)
            except NotPicklable as error:
                return error
        return None

    def _make_room(self, future: object) -> None:
        assert self._room is not None
        with self._room:
            self._places += 1
            self._room.notify_all()


def label_of(fn: Callable[..., Any]) -> str:
    """The name of a task with this function, for error messages."""
    function = getattr(fn, "func", fn)  # of a functools.partial
    return str(getattr(function, "__qualname__", type(fn).__qualname__))
