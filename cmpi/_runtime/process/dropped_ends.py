"""Channel ends whose last reference has gone; the progress thread closes or aborts them."""

from __future__ import annotations

import os
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._runtime.process.channel_ends import ReceiverEnd, SenderEnd
    from cmpi._runtime.process.node_state import NodeState
    from cmpi._runtime.process.unwinding import Unwinding


class DroppedEnds:
    """The dropped ends of one process."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._ends: deque[tuple[SenderEnd | ReceiverEnd, Unwinding | None]] = deque()

    @property
    def over(self) -> bool:
        """Whether dropped ends can be ignored, because this process has left the job, or its exit status
        will tell the peers. While the interpreter is ending, modules may no longer work."""
        return self._state.closed or self._state.failed

    def add(self, end: SenderEnd | ReceiverEnd, exception: Unwinding | None) -> None:
        """The last reference to this end has gone; `exception` is the reason, if there was one.

        The garbage collector calls this in any thread, at any time, even while the thread holds the lock;
        so the progress thread closes the end. If this process has failed, its exit status tells the peer.
        """
        state = self._state
        if not self.over and os.getpid() == state.owner:
            self._ends.append((end, exception))
            state.nudge()

    def close(self) -> None:
        """Close or abort the dropped ends. With the node's lock."""
        while self._ends:
            end, exception = self._ends.popleft()
            if exception is None:
                end.close()
            else:
                end.abort(exception.cause, exception.caught)
