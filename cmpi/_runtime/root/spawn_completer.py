"""The spawn completer: rank 1 beside the root. It completes calls of MPI_Comm_spawn.

MPI_Comm_spawn returns only when the new processes connect to the root. They do not (for the reason see
`pmi.py`), so the spawn completer connects in their place, and disconnects.
"""

from __future__ import annotations

import os
import select

from cmpi._core.protocol import helper_root
from cmpi._runtime import environment
from cmpi._runtime.linux import leftovers
from cmpi._transport import control_socket, mpi


class SpawnCompleter:
    """Serves the root's requests one after another; for each, MPI_Comm_spawn waits at the other end."""

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
                    pass  # MPI's timeout has passed (see `main.py`), also at the other end


def main() -> int:
    """Run the spawn completer; returns the exit code."""
    if mpi.vendor() == "mpich":
        # Also the root's files; here, because nothing waits for this process.
        leftovers.unlink_own_segments()
    try:
        SpawnCompleter().run()
    except OSError:
        pass  # the job is over, and the root has left
    return 0
