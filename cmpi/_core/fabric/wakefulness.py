"""When a fabric agent looks for messages, and when it rings for another. Pure.

Nothing in MPI has a descriptor to sleep on. An agent therefore looks for messages without a pause for a
moment after anything has moved, because more may follow; then in short steps, and then it naps. While it
pauses it sleeps on its sockets and on a bell, a datagram socket. An agent rings for another to which it has
sent nothing for some time, which may nap. The bell says how many messages were sent, because it may be
heard before they can be received: until the other has them, it looks in short steps.

A bell that is lost, or a wrong guess about who is awake, costs one nap, no more. To yield the processor
instead of sleeping was tried: where many processes share it, each yield cost milliseconds.
"""

from __future__ import annotations

STEP_S = 50e-6
NAP_S = 0.02  # looking this often takes less than one per cent of a core
PATIENCE_S = 0.1  # for messages that a bell has announced
LINGER = 20  # times as long as without a pause, an agent looks in short steps


class Wakefulness:
    """One agent's. Times are those of any clock that never goes back.

    Args:
        awake_s: How long to look without a pause after something has moved; 0: nap at once, and be rung
            for.
    """

    def __init__(self, awake_s: float) -> None:
        self._awake_s = awake_s
        self._moved_s = float("-inf")
        self._sent_s: dict[str, float] = {}  # by host: when something was last sent there
        self._missing: dict[str, tuple[int, float]] = {}  # by host: messages announced, and when

    def moved(self, now_s: float) -> None:
        """Something has come or gone."""
        self._moved_s = now_s

    def sent(self, host: str, now_s: float) -> bool:
        """Something was sent to a host; whether to ring there."""
        before_s = self._sent_s.get(host, float("-inf"))
        self._sent_s[host] = self._moved_s = now_s
        return now_s - before_s >= LINGER * self._awake_s / 2

    def rung(self, host: str, messages: int, now_s: float) -> None:
        """The bell was rung from a host that has sent so many messages in all."""
        self._missing[host] = messages, now_s

    def received(self, host: str, messages: int) -> None:
        """So many messages in all have come from a host."""
        if host in self._missing and messages >= self._missing[host][0]:
            del self._missing[host]

    def pause_s(self, now_s: float, *, under_way: bool) -> float:
        """How long to sleep, unless a socket or the bell wakes the agent; 0: look again at once.

        Args:
            now_s: The time.
            under_way: Whether something is being sent or received.
        """
        since_s = now_s - self._moved_s
        if since_s < self._awake_s:
            return 0.0
        if under_way or since_s < LINGER * self._awake_s:
            return STEP_S
        announced = any(now_s - rung_s < PATIENCE_S for _, rung_s in self._missing.values())
        return STEP_S if announced else NAP_S
