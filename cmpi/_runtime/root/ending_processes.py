"""Processes whose monitor was killed, until they have ended as well.

The kernel kills a process when its monitor has ended (PR_SET_PDEATHSIG), but it closes the monitor's
connections before that, and a process with much memory takes a while to end. Its end must not be reported
before: whoever waited for it may use the same files, ports or memory next.
"""

from __future__ import annotations

import os

from cmpi._transport import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cmpi._runtime.root.root_loop import RootLoop

# The longest wait. A process that has changed its user is not killed; and after the process has ended, the
# kernel may have given its number to another one.
ENDING_S = 3.0


class EndingProcesses:
    """The processes, by host and the operating system's pid. Nothing blocks.

    Args:
        loop: The loop, which notices their ends.
        here: The name of this host.
        ask: Asks another host to report the end of a process with `ended`; False if nobody there can.
    """

    def __init__(self, loop: RootLoop, here: str, ask: Callable[[str, int], bool]) -> None:
        self._loop, self._here, self._ask = loop, here, ask
        self._waiting: dict[tuple[str, int], tuple[float, int, Callable[[], None]]] = {}

    @property
    def deadline_s(self) -> float | None:
        """When to call `tick`."""
        return min((until_s for until_s, _, _ in self._waiting.values()), default=None)

    def when_ended(self, host: str, os_pid: int, then: Callable[[], None]) -> None:
        """Call `then` when this process has ended; at once if that cannot be known."""
        key, pidfd = (host, os_pid), -1
        if key in self._waiting:  # the kernel has given the number of an ended process to another one
            self.ended(host, os_pid)
        if host == self._here:
            try:
                pidfd = os.pidfd_open(os_pid)
            except OSError:
                pass
            else:
                self._loop.watch(pidfd, lambda _: self.ended(host, os_pid))
        if pidfd >= 0 or (host != self._here and self._ask(host, os_pid)):
            self._waiting[key] = clock.now_s() + ENDING_S, pidfd, then
        else:
            then()

    def ended(self, host: str, os_pid: int) -> None:
        """This process has ended, or is waited for no longer."""
        waiting = self._waiting.pop((host, os_pid), None)
        if waiting is None:
            return
        _, pidfd, then = waiting
        if pidfd >= 0:
            self._loop.forget(pidfd)
            os.close(pidfd)
        then()

    def tick(self, now_s: float) -> None:
        """Wait no longer for processes that take too long."""
        for key, (until_s, _, _) in list(self._waiting.items()):
            if until_s <= now_s:
                self.ended(*key)
