"""Which starts go by the fork server, and which wait until it has loaded its modules."""

from __future__ import annotations

from cmpi._core.job_actions import Launch, NeedForkServer


class Launches:
    """The machine. Methods are events and return actions."""

    def __init__(self) -> None:
        self._state = "off"  # then "loading", "ready" or "dead"
        self._python = ""
        self._held: list[tuple[Launch, str]] = []

    def need(self, python: str) -> list[NeedForkServer]:
        """Somebody who runs this interpreter may spawn."""
        if self._state != "off":
            return []
        self._state, self._python = "loading", python
        return [NeedForkServer(python)]

    def launch(self, start: int, pids: list[int], host: str, python: str) -> list[Launch]:
        """Start closures in this interpreter, now or as soon as it is clear how."""
        launch = Launch(start, pids, host, self._state == "ready" and python == self._python)
        if self._state == "loading":
            self._held.append((launch, python))
            return []
        return [launch]

    def turned(self, state: str) -> list[Launch]:
        """The fork server is "ready" or "dead"."""
        self._state = state
        held, self._held = self._held, []
        return [launch for x, python in held for launch in self.launch(x.start, x.pids, x.host, python)]
