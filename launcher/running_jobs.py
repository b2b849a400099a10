"""`cmpirun --jobs` and `cmpirun --stop NAME`: list and end the user's jobs on this host, and what was
deployed into them."""

from __future__ import annotations

import socket
import time

from cmpi._core.protocol import deployment_root, guest_root
from cmpi._runtime.linux import job_folders
from cmpi._transport import control_socket
from cmpi.errors import LaunchError, ProtocolError
from cmpi.launcher import visits

NO_PROGRAM = "(serves guests)"
_PID_WIDTH = 8


def show() -> int:
    """Print a line for each job with its name, start time and program, followed by a line for each program
    deployed into it that runs, or whose output waits. Returns cmpirun's exit code."""
    found = [(job_folders.about(path), path) for path in job_folders.mine() if _runs(path)]
    width = max([_PID_WIDTH, *(len(name) for (name, _, _), _ in found)])
    for (name, runs, since_s), path in sorted(found, key=lambda it: it[0][2]):
        print(f"{name:{width}}  since {_time(since_s)}  {_printable(runs) or NO_PROGRAM}")
        for pid, deployed_s, label, state in _deployed(path):
            about = f"  ({state})" if state else ""
            print(f"  {f'{pid:07x}':{width}}since {_time(deployed_s)}  {_printable(label)}{about}")
    return 0


def stop(name: str) -> int:
    """End the job or deployment of this name, as SIGTERM to its cmpirun does. Returns cmpirun's exit code.

    Raises: LaunchError: There is no such job, or more than one.

    Blocks: until the job has ended, which takes at most its grace period.
    """
    if visits.names_deployment(name):
        return visits.stop(name)
    folder = job_folders.the_one(name)
    try:
        stream = control_socket.connect_in(folder, "root", {})
    except (OSError, ProtocolError) as error:
        raise LaunchError(f"the job {name} does not answer, so it was not stopped: {error}") from None
    stream.send(guest_root.StopJob())
    stream.sock.setblocking(True)
    stream.sock.recv(1)  # returns when the root closes the connection
    return 0


def _deployed(folder: str) -> list[tuple[int, int, str, str]]:
    """The programs deployed into a job: pid, start time, command, and state. Blocks: for its root."""
    try:
        stream = control_socket.connect_in(folder, "root", deployment_root.TO_CMPIRUN)
        stream.send(deployment_root.AskDeployments())
        answer, _ = control_socket.receive_with_fds(stream)
    except (OSError, ProtocolError):
        return []  # the job is just ending
    return list(zip(answer.pids, answer.since_s, answer.labels, answer.states))


def _time(since_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since_s))


def _runs(folder: str) -> bool:
    """Whether the job's root listens in the folder. A job whose processes were all killed leaves its folder
    behind."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(f"{folder}/root") == 0


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
