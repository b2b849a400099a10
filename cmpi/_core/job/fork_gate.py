"""Which starts go by the fork server of their host, and which wait until it has loaded its modules."""

from __future__ import annotations

from cmpi._core.job.job_actions import Launch, LaunchWorld, NeedForkServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from cmpi._core.job.process_record import Process

    Action: TypeAlias = Launch | LaunchWorld | NeedForkServer


class ForkGate:
    """The machine. Methods are events and return actions."""

    def __init__(self) -> None:
        # By host: its interpreter, and whether it is "loading", "ready" or "dead".
        self._servers: dict[str, tuple[str, str]] = {}
        self._held: list[tuple[Launch, str]] = []

    def need(self, host: str, python: str) -> list[NeedForkServer]:
        """Somebody who runs this interpreter may spawn there."""
        if host in self._servers:
            return []
        self._servers[host] = python, "loading"
        return [NeedForkServer(host, python)]

    def python(self, host: str) -> str:
        """The interpreter of that host's fork server; "" if it has none."""
        return self._servers[host][0] if host in self._servers else ""

    def launch(self, start: int, group: list[Process]) -> list[Action]:
        """Start closures, now or as soon as it is clear how; on several hosts, as one world, by exec."""
        hosts = [process.host for process in group]
        if len(set(hosts)) > 1:
            return [LaunchWorld(start, hosts)]
        return self._launch(start, [process.pid for process in group], hosts[0], group[0].python)

    def _launch(self, start: int, pids: list[int], host: str, python: str) -> list[Action]:
        actions: list[Action] = [*self.need(host, python)]
        served, state = self._servers[host]
        launch = Launch(start, pids, host, state == "ready" and python == served)
        if state == "loading":
            self._held.append((launch, python))
            return actions
        return [*actions, launch]

    def turned(self, host: str, state: str) -> list[Action]:
        """The fork server of this host is "ready" or "dead"."""
        self._servers[host] = self._servers.get(host, ("", ""))[0], state
        due = [(launch, python) for launch, python in self._held if launch.host == host]
        self._held = [item for item in self._held if item[0].host != host]
        return [action for x, python in due for action in self._launch(x.start, x.pids, x.host, python)]

    def lost(self, host: str) -> None:
        """Nothing is to be started there any more; should it come back, it has no fork server."""
        self._servers.pop(host, None)
        self._held = [item for item in self._held if item[0].host != host]
