"""Making links: a thread that sits in MPI's blocking calls, so that nobody else has to.

The root says when (see `_core/links.py` for why in this order). A process that is about to end
waits until this thread is idle.
"""

from __future__ import annotations

import queue
import threading
import time

from cmpi._core import frames
from cmpi._core.wire import decode, encode
from cmpi._transport import mpi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

IDENTIFY_S = 10.0  # a partner that has connected says its name at once, or is dead


class Linker:
    """Carries out the root's orders, one after another.

    Args:
        me: This process's pid.
        port: Where it accepts.
        made: Called in the linker's thread with the peer's pid and the new link.
    """

    def __init__(self, me: int, port: str, made: Callable[[int, mpi.Link], None]) -> None:
        self._me, self._port, self._made = me, port, made
        self._orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._open: set[int] = set()  # peers whose link is ordered and not yet there
        self._changed = threading.Condition()

    def order(self, frame: Any) -> None:
        """Take an order of the root's. Blocks: never."""
        with self._changed:
            self._open.add(frame.peer)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="cmpi-linker", daemon=True)
            self._thread.start()
        self._orders.put(frame)

    def abandon(self, peer: int) -> None:
        """The partner of a half-made link has died."""
        self._settle(peer)

    def wait_idle(self) -> None:
        """Blocks until every ordered link is there or abandoned, and no call of MPI's is under way."""
        with self._changed:
            while self._open:
                self._changed.wait()
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join()

    def _run(self) -> None:
        while True:
            order = self._orders.get()
            if order is None:
                return
            if isinstance(order, frames.GroupWith):
                self._adopt(order.peer, mpi.group(order.rank))
            elif isinstance(order, frames.ConnectTo):
                self._connect(order)
            else:
                self._accept(order.peer)

    def _connect(self, order: frames.ConnectTo) -> None:
        link = mpi.connect(order.port)
        try:
            link.send(encode(frames.Identify(self._me))[4:], [])
        except mpi.LinkBroken:
            link.free()
            return
        self._adopt(order.peer, link)

    def _accept(self, peer: int) -> None:
        """Accept until the one that was ordered is there; others that knock are as welcome."""
        while peer in self._open:
            link = mpi.accept(self._port)
            who = _identify(link)
            if who is None:
                link.free()
            else:
                self._adopt(who, link)

    def _adopt(self, peer: int, link: mpi.Link) -> None:
        if self._settle(peer):
            self._made(peer, link)
        else:
            link.free()  # abandoned meanwhile

    def _settle(self, peer: int) -> bool:
        with self._changed:
            wanted = peer in self._open
            self._open.discard(peer)
            self._changed.notify_all()
        return wanted


def _identify(link: mpi.Link) -> int | None:
    """Who has connected; None for nobody (the usher, or one that died at once)."""
    end_s = time.monotonic() + IDENTIFY_S
    while time.monotonic() < end_s:
        try:
            message = link.receive(lambda head: [])
        except mpi.LinkBroken:
            return None
        if message is not None:
            frame = decode(message.head)
            if isinstance(frame, frames.Identify) and frame.pid != frames.NO_PID:
                return frame.pid
            return None
        time.sleep(0)
    return None
