"""A deployed program as cmpiruns other than its own see it: listed, attached to, stopped."""

from __future__ import annotations

import time

from cmpi._core.protocol import deployment_root, launcher_root
from cmpi._core.protocol.wire import handler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._runtime.output_log import OutputLog
    from cmpi._runtime.root.control_peers import ControlPeer, ControlPeers

ONLY_THE_END = -1


class DeploymentRecord:
    """A deployed program, running or ended.

    Args:
        peers: The control connections.
        label: What it runs.
        log: Its kept output; None: it has a terminal.
    """

    def __init__(self, peers: ControlPeers, label: str, log: OutputLog | None) -> None:
        self._peers, self.label, self.log = peers, label, log
        self.since_s = int(time.time())
        self.code: int | None = None  # its exit code, once it has ended
        self.seen = False  # whether somebody has read all its output, and got its exit code
        # The visiting cmpiruns that wait for an answer, with the output that each has read.
        self._waiting: dict[ControlPeer, int] = {}
        self._visitors: set[ControlPeer] = set()

    @property
    def state(self) -> str:
        """A description for `--jobs`; "": it runs on a terminal."""
        if self.code is not None:
            return f"ended with exit code {self.code}; its output has not been read"
        return "" if self.log is None else "detached"

    def __bool__(self) -> bool:
        """Whether it has visitors, who have not yet been told everything."""
        return bool(self._visitors)

    def take_in(self, peer: ControlPeer, requests: dict[type, Callable[[Any], None]]) -> None:
        """A cmpirun visits it, and may send these requests."""
        handlers: dict[type, Callable[[Any], None]] = {
            **requests,
            deployment_root.Follow: lambda it: self._wait(peer, it.read),
            deployment_root.AwaitEnd: lambda _: self._wait(peer, ONLY_THE_END),
        }
        peer.title = "a cmpirun that visits a deployment"
        peer.on_frame = lambda _, frame: handler(handlers, frame)(frame)
        peer.gone = self._gone
        self._visitors.add(peer)
        self._peers.send(peer, deployment_root.Visited("" if self.log is None else self.log.folder))

    def _gone(self, peer: ControlPeer) -> None:
        self._visitors.discard(peer)
        self._waiting.pop(peer, None)

    def _wait(self, peer: ControlPeer, read: int) -> None:
        self._waiting[peer] = read
        self.answer()

    def answer(self) -> None:
        """Tell the visitors about new output, and about the end once they have read everything."""
        for peer, read in list(self._waiting.items()):
            follows = read != ONLY_THE_END and self.log is not None
            if follows and self.log is not None and self.log.nbytes > read:
                self._peers.send(peer, deployment_root.Grown(self.log.nbytes))
            elif self.code is not None:
                self.seen |= follows
                self._peers.send(peer, launcher_root.Final(self.code))
                self._visitors.discard(peer)
            else:
                continue
            del self._waiting[peer]
