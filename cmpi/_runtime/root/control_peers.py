"""Who the root talks to over control connections."""

from __future__ import annotations

import time

from cmpi._core.protocol.wire import Decoder
from cmpi._transport import control_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.protocol.authentication import Key

LAUNCHER_S = 10.0


class Peer:
    """A connection that has proved itself: a monitor's, or one that a helper has."""

    def __init__(self, stream: control_socket.ControlSocket) -> None:
        self.stream = stream
        self.pid: int | None = None
        self.helps = False
        self.dismissed = False  # a monitor whose process is not wanted any more
        self.rank_frames = Decoder()


def connect_to_launcher(path: str, key: Key) -> control_socket.ControlSocket:
    """The connection to cmpirun, which imports its modules while MPI starts, and on a busy machine may
    not listen yet. Raises: OSError. Blocks: at most `LAUNCHER_S` for that."""
    end_s = time.monotonic() + LAUNCHER_S
    while True:
        try:
            return control_socket.connect(path, key)
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > end_s:
                raise
        time.sleep(0.01)
