"""`cmpirun --add-host a:4,b:4`: adds hosts to a running job."""

from __future__ import annotations

import os
import sys

from cmpi._core.protocol import command_launcher
from cmpi._runtime.linux import job_folders
from cmpi._transport import clock, control_socket
from cmpi.errors import LaunchError
from cmpi.launcher.hosts.hostfile import parse_list

ANSWER_S = 30.0


def run(hosts: str, job: str) -> int:
    """Ask the job to add these hosts. Returns cmpirun's exit code.

    Args:
        hosts: As for --host.
        job: Its name, "cmpi-..."; "": this user's only job on this host.

    Raises:
        UsageError: `hosts` has a wrong form.
        LaunchError: There is no such job, or more than one, or it does not answer.

    Blocks: until all hosts have answered, at most `ANSWER_S`.
    """
    parse_list(hosts)
    _, faults = ask(find(job), hosts)
    return 1 if faults else 0


def ask(folder: str, hosts: str, allocation: str = "") -> tuple[control_socket.ControlSocket, list[str]]:
    """Ask the job in `folder` to add these hosts, and print why it cannot add some.

    Returns: The connection, which holds the nodes of an `allocation` in the job, and the faults.

    Raises:
        LaunchError: The job does not answer.

    Blocks: as `run`.
    """
    try:
        stream = control_socket.connect_in(folder, "rsh", command_launcher.TO_ADD_HOST)
    except OSError as error:
        raise LaunchError(f"the job {job_folders.name(folder)} has ended: {error.strerror}") from None
    stream.send(command_launcher.AddHosts(hosts, allocation))
    faults = answer(stream)
    if faults is None:
        raise LaunchError(
            f"the job {job_folders.name(folder)} has not answered in time; look at its output"
        )
    for fault in faults:
        print(f"cmpirun: {fault}", file=sys.stderr)
    return stream, faults


def answer(stream: control_socket.ControlSocket) -> list[str] | None:
    """Wait for the job's answer; None: it has ended, or gives none within `ANSWER_S`."""
    end_s = clock.now_s() + ANSWER_S
    while not stream.closed and clock.wait_readable(stream.fileno(), end_s):
        for frame in stream.receive():
            faults: list[str] = frame.faults
            return faults
    return None


def find(job: str) -> str:
    """The folder of a job of this user's on several hosts. Raises: LaunchError: As `run`."""
    several = [path for path in job_folders.mine() if os.path.exists(f"{path}/rsh")]
    found = [path for path in several if not job or path in job_folders.find(job)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(map(job_folders.name, found))
        raise LaunchError(f"several jobs run here; choose one with --job: {names}")
    raise LaunchError(
        "found no such job of yours here that was started with --host or --hostfile, or on several nodes"
    )
