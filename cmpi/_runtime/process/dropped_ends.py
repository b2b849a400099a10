"""Ends of channels whose last reference has gone: closed, or aborted, by the progress thread."""

from __future__ import annotations

import os
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._runtime.process.channel_ends import ReceiverEnd, SenderEnd
    from cmpi._runtime.process.node_state import NodeState
    from cmpi._runtime.process.unwinding import Unwinding


class DroppedEnds:
    """Of one process."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._ends: deque[tuple[SenderEnd | ReceiverEnd, Unwinding | None]] = deque()

    @property
    def over(self) -> bool:
        """Whether an end that is dropped is nobody's business any more: this process has left the job, or
        its exit status tells the peers. At the interpreter's end, modules may be in pieces by then."""
        return self._state.closed or self._state.failed

    def add(self, end: SenderEnd | ReceiverEnd, exception: Unwinding | None) -> None:
        """The last reference to this end has gone, because of an exception or not.

        Called by the garbage collector, in any thread, at any time, even while the thread holds the lock:
        so the progress thread closes the end. If this process has failed, its exit status tells the peer.
        """
        state = self._state
        if not self.over and os.getpid() == state.owner:
            self._ends.append((end, exception))
            state.nudge()

    def close(self) -> None:
        """Close them, or abort them. With the node's lock."""
        while self._ends:
            end, exception = self._ends.popleft()
            if exception is None:
                end.close()
            else:
                end.abort(exception.cause, exception.caught)
