"""How `select` chooses among operations."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from cmpi._base.interrupts import came_from_handler
from cmpi._runtime.process.connection_condition import ConnectionCondition
from cmpi.channels.operation import Operation

MISSING = object()
_turn = 0  # the operation that the next select checks first


class Selected(NamedTuple):
    """The result of `select`: the operation that it carried out, and the received value (None for a
    send)."""

    operation: Any
    value: Any


class Selection:
    """One choice among operations."""

    def __init__(
        self, operations: list[Operation[Any]], timeout_s: float | None, default: Any = MISSING
    ) -> None:
        self._operations, self._timeout_s, self._default = operations, timeout_s, default
        self._lock = operations[0].end.lock
        self._done: Operation[Any] | None = None
        self._result: Any = None

    def run(self) -> Selected:
        """Carry out the first operation that is ready. Raises, blocks: as `select`."""
        self._lock.refuse_inside()
        try:
            with self._lock:
                begun: list[Operation[Any]] = []
                try:
                    for operation in self._operations:
                        operation.begin()
                        begun.append(operation)
                    self._first_ready()
                finally:
                    for operation in begun:
                        operation.end.busy = False
            if self._done is not None:
                return Selected(self._done.given, self._done.finish(self._result))
            if self._default is not MISSING:
                return Selected(None, self._default)
            raise TimeoutError(f"nothing was ready within {self._timeout_s} s")
        except BaseException as error:
            if self._done is not None and came_from_handler(error):
                self._done.undo(self._result, error)
            raise

    def _first_ready(self) -> None:
        """Carry out the first operation that is ready, if one is in time. Called with the lock."""
        global _turn
        _turn += 1
        n = len(self._operations)
        if self._do_one([(_turn + i) % n for i in range(n)]) or self._default is not MISSING:
            return
        connections = [connection for operation in self._operations for connection in operation.connections]
        waits = self._operations[0].node.state.socket_waits
        wake = ConnectionCondition(self._lock, waits, lambda: connections)
        hits: list[int] = []

        def watcher(i: int) -> Any:
            def hit() -> None:
                hits.append(i)
                wake.notify_all()

            return hit

        watchers = [watcher(i) for i in range(n)]
        for operation, hit in zip(self._operations, watchers):
            operation.end.changed.watch(hit)
        try:
            for operation in self._operations:
                operation.await_ready()
            self._sleep(wake, hits)
        finally:
            for operation, hit in zip(self._operations, watchers):
                operation.end.changed.unwatch(hit)
            for operation in self._operations:
                operation.stop_waiting()

    def _sleep(self, wake: ConnectionCondition, hits: list[int]) -> None:
        """Sleep until a signalled operation is ready and carry it out, or until the timeout."""
        end_s = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        pids = [pid for operation in self._operations for pid in operation.pids]
        waits = self._operations[0].node.waits
        while True:
            left = None if end_s is None else end_s - time.monotonic()
            if left is not None and left <= 0:
                return
            if not hits:
                with waits.on("select of", pids, left, lambda: hits):
                    wake.wait_for(lambda: hits, left)
            looked, hits[:] = list(dict.fromkeys(hits)), []
            if self._do_one(looked):
                return

    def _do_one(self, order: list[int]) -> bool:
        """Carry out the first of these that is ready; False if none is. Raises: why it can never be
        done."""
        for i in order:
            operation = self._operations[i]
            if operation.ready():
                try:
                    self._result = operation.complete()
                except Exception as error:
                    error.operation = operation.given  # type: ignore[attr-defined]
                    raise
                self._done = operation
                return True
        return False
