"""The root's connection with cmpirun: the job's order, the user's requests, and the output of MPI's
launcher."""

from __future__ import annotations

import select

from cmpi._core.protocol import launcher_root
from cmpi._core.protocol.wire import handler
from cmpi._transport import clock, control_socket
from cmpi.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._core.protocol.authentication import Key
    from cmpi._runtime.root.root_loop import RootLoop

LAST_OUTPUT_S = 2.0  # for cmpirun to send what MPI's launcher has printed


class LauncherConnection:
    """Connects and receives the order. Afterwards `serve` hands frames to their handlers.

    Args:
        path: The path of cmpirun's socket.
        key: The job's secret.

    Raises: OSError, ProtocolError.

    Blocks: as `connect`, until cmpirun answers; it imports its modules while MPI's launcher starts.
    """

    def __init__(self, path: str, key: Key) -> None:
        self._stream = control_socket.connect(path, key, launcher_root.TO_ROOT)
        # Of the terminal, three, and of the socket where the root listens.
        order, self.descriptors = control_socket.receive_with_fds(self._stream)
        self.order: launcher_root.LaunchJob = order
        self._has_all_output = False
        self._loop: RootLoop | None = None
        self._handlers: dict[type, Callable[[Any], None]] = {}
        self._fault: Callable[[str], None] = lambda text: None

    def serve(
        self, loop: RootLoop, handlers: dict[type, Callable[[Any], None]], fault: Callable[[str], None]
    ) -> None:
        """From now on, have the loop hand on frames of cmpirun.

        Args:
            loop: The root's loop.
            handlers: The handler of each type of frame.
            fault: Called if cmpirun violates the protocol.
        """
        self._handlers = {launcher_root.AllOutput: self._all_output, **handlers}
        self._fault = fault
        self._loop = loop
        loop.watch(self._stream.fileno(), self._ready)

    def _ready(self, events: int) -> None:
        assert self._loop is not None
        if events & select.EPOLLOUT and self._stream.flush():
            self._loop.watch_writing(self._stream.fileno(), False)
        if events & ~select.EPOLLOUT:
            self._read_frames()
        if self.closed:
            self._loop.forget(self._stream.fileno())

    @property
    def closed(self) -> bool:
        """Whether cmpirun has closed the connection."""
        return self._stream.closed

    def send(self, frame: Any) -> None:
        """Send a frame, now or as soon as cmpirun takes it."""
        self._stream.send(frame)
        if self._stream.backlog and self._loop is not None:
            self._loop.watch_writing(self._stream.fileno(), True)

    def take_last_output(self) -> None:
        """Have cmpirun send the remaining output of MPI's launcher.

        Blocks: until it has arrived, at most `LAST_OUTPUT_S`.
        """
        self.send(launcher_root.AskOutput())
        end_s = clock.now_s() + LAST_OUTPUT_S
        while not (self._has_all_output or self.closed):
            if not clock.wait_readable(self._stream.fileno(), end_s):
                break
            self._read_frames()

    def _all_output(self, _: launcher_root.AllOutput) -> None:
        self._has_all_output = True

    def _read_frames(self) -> None:
        try:
            for frame in self._stream.receive():
                handler(self._handlers, frame)(frame)
        except ProtocolError as error:
            self._fault(f"cmpirun violates the protocol: {error}")
            self._stream.closed = True
