"""The root's helpers on each host: a spawn completer, a fork server, and on other hosts a host spawner."""

from __future__ import annotations

from cmpi._core.protocol import helper_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._runtime.root.control_peers import ControlPeer


MOST_COMPLETED = 10_000  # starts are completed within a minute, if at all


class HelperTable:
    """The helpers, and the frames for those that are not up yet.

    Args:
        send: Sends a frame to a helper.
    """

    def __init__(self, send: Callable[[ControlPeer, Any], None]) -> None:
        self._send = send
        self._up: dict[tuple[int, str], ControlPeer] = {}
        self._waiting: dict[tuple[int, str], list[Any]] = {}
        self._loads: list[helper_root.Load] = []  # for every fork server, whenever it comes up
        self._completed: dict[int, None] = {}  # the starts whose completion was ordered last

    def came(self, role: int, host: str, peer: ControlPeer) -> None:
        """A helper is ready."""
        self._up[role, host] = peer
        loads = self._loads if role == helper_root.FORK_SERVER else []
        for frame in [*loads, *self._waiting.pop((role, host), [])]:
            self._send(peer, frame)

    def went(self, peer: ControlPeer) -> tuple[int, str] | None:
        """A connection has closed; return the helper that it belonged to."""
        for key, other in self._up.items():
            if other is peer:
                del self._up[key]
                return key
        return None

    def host_of(self, peer: ControlPeer) -> str | None:
        """The host of a helper; None if the peer is not a helper."""
        return next((host for (_, host), other in self._up.items() if other is peer), None)

    def tell(self, role: int, host: str, frame: Any) -> None:
        """Send this to a helper, now or when it is up."""
        if not self.tell_now(role, host, frame):
            self._waiting.setdefault((role, host), []).append(frame)

    def tell_now(self, role: int, host: str, frame: Any) -> bool:
        """Send this to a helper, if it is up; return whether it is."""
        peer = self._up.get((role, host))
        if peer is None:
            return False
        self._send(peer, frame)
        return True

    def load(self, frame: helper_root.Load) -> None:
        """Have all fork servers load these modules."""
        self._loads.append(frame)
        for (role, _), peer in self._up.items():
            if role == helper_root.FORK_SERVER:
                self._send(peer, frame)

    def complete(self, start: int, host: str, port: str) -> None:
        """Have the spawn completer complete the spawn of this start, once."""
        if port and start not in self._completed:
            self._completed[start] = None
            if len(self._completed) > MOST_COMPLETED:
                del self._completed[next(iter(self._completed))]
            self.tell(helper_root.SPAWN_COMPLETER, host, helper_root.ConnectAndLeave(port))
