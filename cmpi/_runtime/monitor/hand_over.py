"""Receives what a stub hands over to the fork server: its start, pid, environment and descriptors.

After the handshake the stub sends a line "NBYTES START PID" with its descriptors 0, 1, 2 and, with MPICH,
that of PMI_FD, and then NBYTES of environment.
"""

from __future__ import annotations

import os

from cmpi._transport.control_socket import receive_fds

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

HAND_OVER_S = 10.0  # for all of it to come
MAX_BYTES = 16 << 20  # of environment: Linux allows a process less than that
HEAD_BYTES = 64


class HandOver:
    """A hand-over that is being received. `progress` never blocks.

    Args:
        stub: A connection that has proved itself.
        now_s: The time.
    """

    def __init__(self, stub: _socket.socket, now_s: float) -> None:
        self.stub, self.deadline_s = stub, now_s + HAND_OVER_S
        self.start = self.stub_pid = 0
        self.environment: dict[str, str] = {}
        self.fds: list[int] = []
        self._head, self._data, self._nbytes = b"", bytearray(), -1
        stub.setblocking(False)

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self.stub.fileno()

    def progress(self) -> bool:
        """Take what has arrived; return whether the hand-over is complete.

        Raises:
            OSError: The stub has gone.
            ValueError: The stub violates the protocol.
        """
        try:
            data, fds = receive_fds(self.stub)
        except BlockingIOError:
            return False
        self.fds += fds
        if not data:
            raise OSError("the spawn stub has exited")
        if self._nbytes < 0:
            head, newline, data = (self._head + data).partition(b"\n")
            if len(head) > HEAD_BYTES:
                raise ValueError("the first line is too long")
            self._head = head
            if not newline:
                return False
            self._nbytes, self.start, self.stub_pid = map(int, head.split())
            if not 0 <= self._nbytes <= MAX_BYTES:
                raise ValueError(f"an environment of {self._nbytes} bytes")
        self._data += data
        if len(self._data) > self._nbytes or len(self.fds) > 4:
            raise ValueError("more data came than was announced")
        if len(self._data) < self._nbytes:
            return False
        if len(self.fds) < 3:
            raise ValueError("some descriptors were not passed")
        items = bytes(self._data).split(b"\0")
        self.environment = dict(os.fsdecode(item).split("=", 1) for item in items if item)
        if len(self.fds) > 3:
            self.environment["PMI_FD"] = str(self.fds[3])
        return True

    def close_fds(self) -> None:
        """Close the descriptors that have arrived."""
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()

    def refuse(self) -> None:
        """Close everything."""
        self.close_fds()
        self.stub.close()
