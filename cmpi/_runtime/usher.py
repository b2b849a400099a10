"""The usher: rank 1 beside the root. It completes what would otherwise block for ever.

MPI has no way out of MPI_Comm_spawn, accept or connect but that somebody plays the other part.
The usher plays it: for each spawn (`pmi.py` says why nobody else does), and for a process whose
partner died while the two were making a link. Then it leaves; all it
says is that it is nobody.
"""

from __future__ import annotations

import _thread
import os
import select

from cmpi._core import frames
from cmpi._core.wire import encode
from cmpi._transport import mpi, sockets


class Usher:
    """Serves the root's requests, each in a thread: one may block, the others go on."""

    def __init__(self) -> None:
        secret = bytes.fromhex(os.environ["CMPI_SECRET"])
        self._root = sockets.connect(os.environ["CMPI_JOB"] + "/root", secret)
        self._root.send(frames.HelperUp(frames.USHER, ""))
        self._under_way = 0
        self._lock = _thread.allocate_lock()

    def run(self) -> bool:
        """Serve until the root closes; False if a request still blocks then."""
        poll = select.poll()
        poll.register(self._root, select.POLLIN)
        while not self._root.closed:
            poll.poll()
            for frame in self._root.receive():
                with self._lock:
                    self._under_way += 1
                _thread.start_new_thread(self._serve, (frame,))
        return self._under_way == 0

    def _serve(self, frame: object) -> None:
        try:
            if isinstance(frame, frames.ConnectAndLeave):
                mpi.connect_and_leave(frame.port, encode(frames.Identify(frames.NO_PID))[4:])
            elif isinstance(frame, frames.AcceptAndLeave):
                mpi.accept_and_leave(frame.port)
        finally:
            with self._lock:
                self._under_way -= 1


def main() -> int:
    """The usher's whole life."""
    mpi.barrier()  # the root listens from now on
    if not Usher().run():
        os._exit(0)  # a thread sits in MPI for good, so MPI cannot be ended in order
    return 0
