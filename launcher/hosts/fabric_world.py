"""cmpirun's side of the fabric agents: starts their world, and again after it has fallen."""

from __future__ import annotations

from cmpi._core.fabric.revival import Revival
from cmpi._core.protocol import launcher_root
from cmpi._transport import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi.launcher.hosts.world_process import WorldProcess


class FabricWorld:
    """One world after another, each of the hosts that are not lost.

    Args:
        hosts: The hosts that get an agent; fewer than two: there are none.
        start: Starts a world on these hosts.
    """

    def __init__(self, hosts: list[str], start: Callable[[list[str]], WorldProcess]) -> None:
        self.hosts, self._start = hosts, start
        self._lost = set[str]()
        self._tell_root: Callable[[Any], None] = lambda frame: None
        self._world: WorldProcess | None = None
        self._revival = Revival()
        self.deadline_s: float | None = None  # when to start the next world

    def attend(self, tell_root: Callable[[Any], None]) -> None:
        """The root listens: start the first world."""
        self._tell_root = tell_root
        if self.hosts:
            self._begin()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to poll."""
        return () if self._world is None else self._world.descriptors

    def serve(self, ready: set[int]) -> None:
        """Serve the descriptors that are ready, and start what is due. Blocks: never."""
        if self._world is not None and self._world.has_ended(ready):
            self._fell()
        if self.deadline_s is not None and clock.now_s() >= self.deadline_s:
            self._begin()

    def host_lost(self, name: str) -> None:
        """A host is lost: MPI may not notice, so end the world, and start one without that host."""
        self._lost.add(name)
        if self._world is not None and name in self.hosts:
            self._fell()

    def host_back(self, name: str) -> None:
        """A host is back: it takes part in the next world."""
        self._lost.discard(name)

    def finish(self) -> None:
        """End the world."""
        self.deadline_s = None
        if self._world is not None:
            self._world.end()
            self._world = None

    def _begin(self) -> None:
        self.deadline_s = None
        hosts = [name for name in self.hosts if name not in self._lost]
        if len(hosts) > 1:
            self._revival.started(clock.now_s())
            self._world = self._start(hosts)
        else:
            self._tell_root(launcher_root.FabricFailed("fewer than two hosts with fabric agents are left"))

    def _fell(self) -> None:
        assert self._world is not None
        self._world.end()
        self._world = None
        self.deadline_s = self._revival.fell(clock.now_s())
        if self.deadline_s is None:
            why = "the fabric agents end again and again (--verbose shows what MPI says)"
            self._tell_root(launcher_root.FabricFailed(why))
