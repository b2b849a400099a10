"""`select`: do the first of several receives and sends that can be done."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from cmpi._runtime.process.condition import refuse_in_loop
from cmpi.errors import UsageError

if TYPE_CHECKING:
    from cmpi.channels.receiver import Receiver
    from cmpi.channels.sender import Sending

_MISSING = object()
_turn = 0  # which operation the next select looks at first


class Selected(NamedTuple):
    """What `select` did: which of its operations, and what a receive got (None for a send)."""

    operation: Any
    value: Any


def select(
    *operations: Receiver[Any] | Sending, timeout: float | None = None, default: Any = _MISSING
) -> Selected:
    """Do the first of several receives and sends that can be done, and only that one.

    Args:
        operations: Receivers, and sends made by `sender.sending(value)`; each end once.
        timeout: Longest wait, in seconds. None waits for ever.
        default: If given, do not wait: `Selected(None, default)` when nothing is ready.

    Of several that are ready, the choice goes round, so that each gets the same share.

    Raises:
        TimeoutError: Nothing was ready in time; nothing was done.
        EndOfChannel, PeerExited, PeerFailed, PeerClosed, ChannelClosed, ContractMismatch: As `recv` and
            `send` of the operation that is ready with it; the error's `operation` says which.
        ChannelBusy: Another thread uses one of the ends, or an end is named twice.

    Blocks: until one is ready. Source: the guarded commands of Hoare, "Communicating Sequential
    Processes" (1978), and Go's `select`.
    """
    refuse_in_loop("select()", "`asyncio.wait` over the async forms")
    if not operations:
        raise UsageError("select() needs something to wait for: receivers, or sender.sending(value)")
    lock = operations[0]._node.lock
    with lock:
        begun: list[Any] = []
        try:
            for operation in operations:
                operation._begin()
                begun.append(operation)
            done = _first_ready(operations, timeout, default is _MISSING)
        finally:
            for operation in begun:
                operation._end.busy = False
    if done is None:
        if default is not _MISSING:
            return Selected(None, default)
        raise TimeoutError(f"nothing was ready within {timeout} s")
    operation, result = done
    return Selected(operation, operation._finish(result))


def _first_ready(operations: tuple[Any, ...], timeout: float | None, wait: bool) -> Any:
    """The operation that was done and what it gave; None if there was none in time. With the lock."""
    global _turn
    n = len(operations)
    _turn += 1
    order = [(_turn + i) % n for i in range(n)]
    for i in order:
        if operations[i]._ready():
            return _do(operations[i])
    if not wait:
        return None
    wake = threading.Condition(operations[0]._node.lock)
    hits: list[int] = []

    def watcher(i: int) -> Any:
        def hit() -> None:
            hits.append(i)
            wake.notify()

        return hit

    watchers = [watcher(i) for i in range(n)]
    end_s = None if timeout is None else time.monotonic() + timeout
    for operation, hit in zip(operations, watchers):
        operation._end.changed.watch(hit)
    try:
        for operation in operations:
            operation._end.changed.rest()
        while True:
            left = None if end_s is None else end_s - time.monotonic()
            if left is not None and left <= 0:
                return None
            if not hits:
                pids = [operation._end.pid for operation in operations if hasattr(operation._end, "pid")]
                with operations[0]._node.waits.on("select of", pids, left, lambda: hits):
                    wake.wait(left)
            looked, hits[:] = list(dict.fromkeys(hits)), []
            for i in looked:
                if operations[i]._ready():
                    return _do(operations[i])
    finally:
        for operation, hit in zip(operations, watchers):
            operation._end.changed.unwatch(hit)


def _do(operation: Any) -> Any:
    try:
        return operation, operation._complete()
    except Exception as error:
        error.operation = operation  # type: ignore[attr-defined]
        raise
