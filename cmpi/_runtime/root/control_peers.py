"""Who the root talks to over control connections."""

from __future__ import annotations

import select
import time

from cmpi._core.protocol import launcher_root, process_root
from cmpi._core.protocol.wire import Decoder
from cmpi._transport import control_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cmpi._core.protocol.authentication import Key

LAUNCHER_S = 10.0


class Peer:
    """A connection that has proved itself: a monitor's, or one that a helper has."""

    def __init__(self, stream: control_socket.ControlSocket) -> None:
        self.stream = stream
        self.pid: int | None = None
        self.helps = False
        self.dismissed = False  # a monitor whose process is not wanted any more
        self.rank_frames = Decoder(process_root.TO_ROOT)


def connect_to_launcher(path: str, key: Key) -> control_socket.ControlSocket:
    """The connection to cmpirun, which imports its modules while MPI starts, and on a busy machine may
    not listen yet. Raises: OSError. Blocks: at most `LAUNCHER_S` for that."""
    end_s = time.monotonic() + LAUNCHER_S
    while True:
        try:
            return control_socket.connect(path, key, launcher_root.TO_ROOT)
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > end_s:
                raise
        time.sleep(0.01)


def hear_until(
    stream: control_socket.ControlSocket,
    hear: Callable[[], None],
    enough: Callable[[], bool],
    limit_s: float,
) -> None:
    """Call `hear` for what comes by a stream until `enough`, or its end. Blocks: at most `limit_s`."""
    poll, end_s = select.poll(), time.monotonic() + limit_s
    poll.register(stream.fileno(), select.POLLIN)
    while not (enough() or stream.closed) and (left_s := end_s - time.monotonic()) > 0:
        if poll.poll(left_s * 1000):
            hear()
