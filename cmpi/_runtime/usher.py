"""The usher: rank 1 beside the root. It completes what would otherwise block for ever.

MPI has no way out of MPI_Comm_spawn but that somebody plays the new processes' part (`pmi.py` says why they
do not). The usher plays it, and leaves.
"""

from __future__ import annotations

import os
import select

from cmpi._core import helper_frames
from cmpi._runtime import leftovers
from cmpi._runtime.helpers import HOST_VARIABLE
from cmpi._transport import mpi, sockets


class Usher:
    """Serves the root's requests one after another; each has somebody waiting at the other end."""

    def __init__(self) -> None:
        self._root = sockets.to_root(os.environ)
        self._root.send(helper_frames.HelperUp(helper_frames.USHER, os.environ.get(HOST_VARIABLE, ""), ""))

    def run(self) -> None:
        """Serve until the root closes."""
        poll = select.poll()
        poll.register(self._root, select.POLLIN)
        while not self._root.closed:
            poll.poll()
            for frame in self._root.receive():
                try:
                    if isinstance(frame, helper_frames.ConnectAndLeave):
                        mpi.connect_and_leave(frame.port)
                except RuntimeError:
                    pass  # MPI's time ran out (see `root_main`): the other end's has too


def main() -> int:
    """The usher's whole life."""
    if mpi.vendor() == "mpich":
        leftovers.unlink_own_segments()  # the root's too; here, because nobody waits for the usher
    mpi.hear_root()
    Usher().run()
    return 0
