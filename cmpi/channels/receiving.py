"""`Receiving`: one receive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from cmpi.channels.operation import Operation
from cmpi.errors import UsageError

if TYPE_CHECKING:
    from cmpi._runtime.process.channel_ends import ReceiverEnd
    from cmpi.channels.end import Endpoint

R = TypeVar("R")
LONG_S = 0.01  # for longer timeouts, two milliseconds more do not matter


class Receiving(Operation[R]):
    """One receive, into the array `out` if given."""

    kind: ClassVar[str] = "recv from"
    end: ReceiverEnd

    def __init__(self, receiver: Endpoint[R], out: Any = None) -> None:
        super().__init__(receiver._node, receiver._end, receiver)
        self._out = out

    @property
    def given(self) -> Endpoint[R]:
        return self.owner  # type: ignore[no-any-return]

    def ready(self) -> bool:
        return self.end.readable

    def look(self, timeout_s: float | None) -> None:
        if timeout_s == 0.0:
            self.end.peer.connection.inbox.look(0.0)
            return
        self.end.look()
        if not self.end.readable and (timeout_s is None or timeout_s > LONG_S):
            self.end.peer.connection.ring_inbox.look_on(lambda: self.end.readable)

    def complete(self) -> Any:
        end = self.end
        if end.mismatch is None and end.machine.inbox:
            if self._out is not None:
                self._copy(end.machine.inbox[0][0])
            return end.take()
        if end.machine.state in ("ended", "failed"):
            end.peer.forget(end)
        raise end.error()

    def finish(self, result: Any) -> R:
        value: R = self.end.unpack(result) if self._out is None else self._out
        return value

    def undo(self, result: Any, error: BaseException) -> None:
        with self.end.lock:
            self.end.put_back(result)

    def too_late(self, timeout_s: float | None) -> TimeoutError:
        return TimeoutError(f"no message from {self.end.pid} arrived within {timeout_s} s")

    def _copy(self, message: Any) -> None:
        """Copy the next message, an array, into `out`."""
        import numpy as np

        out, value = self._out, self.end.unpack(message)
        if not isinstance(value, np.ndarray) or (value.shape, value.dtype) != (out.shape, out.dtype):
            found = type(value).__name__
            if isinstance(value, np.ndarray):
                found = f"{value.dtype} {value.shape}"
            raise UsageError(
                f"out= is an array of {out.dtype} {out.shape}, the next message is {found}; it can still "
                "be received"
            )
        np.copyto(out, value)
