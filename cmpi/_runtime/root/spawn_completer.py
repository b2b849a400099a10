"""The usher: rank 1 beside the root. It completes what would otherwise block for ever.

MPI has no way out of MPI_Comm_spawn but that somebody plays the new processes' part (`pmi.py` says why they
do not). The usher plays it, and leaves.
"""

from __future__ import annotations

import os
import select

from cmpi._core.protocol import helper_root
from cmpi._runtime import environment
from cmpi._runtime.linux import leftovers
from cmpi._transport import control_socket, mpi


class SpawnCompleter:
    """Serves the root's requests one after another; each has somebody waiting at the other end."""

    def __init__(self) -> None:
        self._root = control_socket.to_root(os.environ, helper_root.TO_SPAWN_COMPLETER)
        self._root.send(
            helper_root.HelperUp(helper_root.SPAWN_COMPLETER, os.environ.get(environment.HOST, ""), "")
        )

    def run(self) -> None:
        """Serve until the root closes."""
        poll = select.poll()
        poll.register(self._root, select.POLLIN)
        while not self._root.closed:
            poll.poll()
            for frame in self._root.receive():
                try:
                    if isinstance(frame, helper_root.ConnectAndLeave):
                        mpi.connect_and_leave(frame.port)
                except RuntimeError:
                    pass  # MPI's time ran out (see `main.py`): the other end's has too


def main() -> int:
    """The usher's whole life."""
    if mpi.vendor() == "mpich":
        leftovers.unlink_own_segments()  # the root's too; here, because nobody waits for the usher
    mpi.hear_root()
    SpawnCompleter().run()
    return 0
