"""`cmpirun --jobs` and `cmpirun --stop NAME`: list and end the user's jobs on this host."""

from __future__ import annotations

import socket
import time

from cmpi._core.protocol import guest_root
from cmpi._runtime.linux import job_folders
from cmpi._transport import control_socket
from cmpi.errors import LaunchError, ProtocolError

NO_PROGRAM = "(serves guests)"


def show() -> int:
    """Print a line for each job: its name, its start time, its program. Returns cmpirun's exit code."""
    found = [job_folders.about(path) for path in job_folders.mine() if _runs(path)]
    width = max((len(name) for name, _, _ in found), default=0)
    for name, runs, since_s in sorted(found, key=lambda it: it[2]):
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since_s))
        print(f"{name:{width}}  since {since}  {_printable(runs) or NO_PROGRAM}")
    return 0


def stop(name: str) -> int:
    """End the job of this name, as SIGTERM to its cmpirun does. Returns cmpirun's exit code.

    Raises: LaunchError: There is no such job, or there are several.

    Blocks: until the job has ended, which takes at most its grace period.
    """
    folder = job_folders.the_one(name)
    try:
        stream = control_socket.connect_in(folder, "root", {})
    except (OSError, ProtocolError) as error:
        raise LaunchError(f"the job {name} does not answer, so it was not stopped: {error}") from None
    stream.send(guest_root.StopJob())
    stream.sock.setblocking(True)
    stream.sock.recv(1)  # returns when the root closes the connection
    return 0


def _runs(folder: str) -> bool:
    """Whether the job's root listens there: a job whose processes were all killed leaves its folder
    behind."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(f"{folder}/root") == 0


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
