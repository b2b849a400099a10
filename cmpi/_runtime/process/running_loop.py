"""Finds the event loop of a thread without importing asyncio, which takes 40 ms."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


def running_loop() -> AbstractEventLoop | None:
    """The event loop that runs in this thread, if any."""
    # There is none as long as asyncio is not imported completely, which another thread may just be doing.
    get = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return None if get is None else get()
