"""Connects a process without a monitor, a guest, directly to the root.

Only the job's owner can read the job's folder, and both sides prove that they know the secret in it.
"""

from __future__ import annotations

import os
import socket

from cmpi._core.protocol import guest_root
from cmpi._transport import control_socket
from cmpi.errors import NotRunning, ProtocolError


def connect(folder: str, label: str) -> tuple[socket.socket, str]:
    """Connect to the root of the job with this folder; return the connection and the job's shared memory
    folder.

    Args:
        folder: The job's folder.
        label: A description of this process.

    Raises:
        NotRunning: There is no such job, or it accepts no more guests.

    Blocks: for the root's answer.
    """
    try:
        stream = control_socket.connect_in(folder, "root", guest_root.TO_GUEST)
    except (OSError, ProtocolError) as error:
        raise NotRunning(f"no job can be joined at {folder}: {error}") from None
    try:
        stream.send(guest_root.GuestUp(label))
        answer, _ = control_socket.receive_with_fds(stream)
    except ProtocolError as error:
        stream.close()
        raise NotRunning(f"the job at {folder} accepts no more guests: {error}") from None
    sock = socket.socket(fileno=os.dup(stream.fileno()))
    stream.close()
    sock.settimeout(None)
    return sock, answer.shared_memory
