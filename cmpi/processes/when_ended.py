"""Calls a function once another process has ended, whatever this process is doing then."""

from __future__ import annotations

import threading

from cmpi.processes.process import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cmpi.identifiers import Pid


def when_ended(pid: Pid, act: Callable[[], object], thread: str) -> None:
    """Call `act` once this process has ended, in a daemon thread of this name. Blocks: never."""

    def watch() -> None:
        wait(pid)
        act()

    threading.Thread(target=watch, name=thread, daemon=True).start()
