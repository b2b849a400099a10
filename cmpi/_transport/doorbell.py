"""Doorbells wake a sleeping process by a datagram, so sleeping costs no CPU.

A doorbell is a Unix datagram socket in the job's folder. A ring tells which process rings and how many
frames it has sent over the transport so far, because the ring may overtake the frame that it announces
(seen with MPI over TCP): the woken process polls until it has received that many.
"""

from __future__ import annotations

import os
import socket
import struct

_RING = struct.Struct("<IQ")


class Doorbell:
    """This process's own doorbell."""

    def __init__(self, folder: str, pid: int) -> None:
        self._folder, self._pid = folder, pid
        self._path = _path(folder, pid)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(self._path)
        self._sock.setblocking(False)

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self._sock.fileno()

    def ring(self, pid: int, sent: int) -> bool:
        """Wake another process. False if its queue is full, and only then. Never blocks."""
        try:
            self._sock.sendto(_RING.pack(self._pid, sent), _path(self._folder, pid))
        except BlockingIOError:
            return False
        except OSError:
            pass  # it has no bell yet, and will poll once it has one; or it has gone
        return True

    def rings(self) -> list[tuple[int, int]]:
        """Return the rings since the last call: pids, and how many frames each has sent."""
        heard = []
        try:
            while True:
                data = self._sock.recv(64)
                if len(data) == _RING.size:
                    heard.append(_RING.unpack(data))
        except OSError:
            return heard

    def close(self) -> None:
        """Remove the doorbell."""
        self._sock.close()
        try:
            os.unlink(self._path)
        except OSError:
            pass  # the job's folder has already gone


def _path(folder: str, pid: int) -> str:
    return f"{folder}/{pid:07x}.bell"
