"""`cmpirun --attach JOB/NUMBER` and `cmpirun --stop JOB/NUMBER`: follow, or end, a program that was
deployed into a running job."""

from __future__ import annotations

import os
import re
import select
import signal
import sys

from cmpi._core.protocol import deployment_root, launcher_root
from cmpi._runtime.linux import job_folders
from cmpi._runtime.linux.write_all import write_all
from cmpi._runtime.output_log import LogReader
from cmpi._transport import control_socket
from cmpi.errors import LaunchError, ProtocolError
from cmpi.launcher import after_interrupt

SIGPIPE_CODE = 128 + signal.SIGPIPE


def names_deployment(name: str) -> bool:
    """Whether this names a deployment, JOB/NUMBER, and not a job: a job's folder has another last part.

    >>> names_deployment("lab/3f2a001"), names_deployment("lab"), names_deployment("/tmp/cmpi-3f2a001")
    (True, False, False)
    """
    return re.fullmatch(r".+/[0-9a-f]{7,}", name) is not None


def stop(name: str) -> int:
    """End a deployment, as SIGTERM to its cmpirun does. Returns cmpirun's exit code.

    Raises: LaunchError: There is no such deployment, or its job does not answer.

    Blocks: until it has ended, which takes at most its grace period.
    """
    root, _ = _visit(name)
    root.send(launcher_root.Interrupt(signal.SIGTERM))
    root.send(deployment_root.AwaitEnd())
    root.sock.setblocking(True)
    try:
        while not root.closed and not any(isinstance(it, launcher_root.Final) for it in root.receive()):
            pass
    except ProtocolError as error:
        raise LaunchError(f"the job of {name} violates the protocol: {error}") from None
    return 0


def attach(name: str, via: str, on_interrupt: str) -> int:
    """Show the output of a detached deployment as it comes, from its start, until it ends; returns its exit
    code.

    Args:
        name: The deployment.
        via: What the user puts before that name.
        on_interrupt: What Ctrl-C does: "ask", "leave" or "cancel".

    Raises: LaunchError: There is no such deployment, it runs on a terminal, or its job does not answer.
    """
    root, log = _visit(name)
    if not log:
        raise LaunchError(
            f"{name} runs on another terminal; only what was deployed with --detach can be attached to"
        )
    try:
        return _VisitFollower(via + name, root, log, on_interrupt).run()
    except BrokenPipeError:
        return SIGPIPE_CODE
    except (OSError, ProtocolError) as error:
        raise LaunchError(f"cannot show more of {name}'s output: {error}") from None


def _visit(name: str) -> tuple[control_socket.ControlSocket, str]:
    """Connect with the root for this deployment; returns the connection, and the folder of its output."""
    job, _, number = name.rpartition("/")
    folder = job_folders.the_one(job)
    try:
        root = control_socket.connect_in(folder, "root", deployment_root.TO_CMPIRUN)
        root.send(deployment_root.Visit(int(number, 16)))
        answer, _ = control_socket.receive_with_fds(root)
    except (OSError, ProtocolError) as error:
        raise LaunchError(f"the job {job} does not answer: {error}") from None
    if isinstance(answer, deployment_root.NoDeployment):
        raise LaunchError(
            f"the job {job} has no deployment {number}: it never existed, or it has ended and its output "
            "has been shown. cmpirun --jobs lists all"
        )
    return root, answer.log


class _VisitFollower:
    """Follows one deployment."""

    def __init__(self, name: str, root: control_socket.ControlSocket, log: str, on_interrupt: str) -> None:
        self._name, self._root, self._on_interrupt = name, root, on_interrupt
        self._reader = LogReader(log, self._skipped)
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGQUIT, lambda *_: None)

    def run(self) -> int:
        """Follow it to its end, or until the user stops; returns cmpirun's exit code."""
        self._root.send(deployment_root.Follow(0))
        while True:
            poll = select.poll()
            poll.register(self._wake, select.POLLIN)
            poll.register(self._root, select.POLLIN)
            ready = {fd for fd, _ in poll.poll()}
            numbers = os.read(self._wake, 64) if self._wake in ready else b""
            if signal.SIGQUIT in numbers:
                self._root.send(launcher_root.ShowStacks())
            if signal.SIGINT in numbers and self._leaves():
                return 128 + signal.SIGINT
            if self._root.fileno() not in ready:
                continue
            for frame in self._root.receive():
                if isinstance(frame, launcher_root.Final):
                    return frame.code
                for fd, data in self._reader.read_to(frame.nbytes):
                    write_all(fd, data)
                self._root.send(deployment_root.Follow(frame.nbytes))
            if self._root.closed:
                print(
                    f"cmpirun: the job of {self._name} has ended, and the program with it", file=sys.stderr
                )
                return 1

    def _leaves(self) -> bool:
        """Do what the user wants after Ctrl-C; True: stop following."""
        choice = after_interrupt.choice(self._on_interrupt, self._name, self._name)
        if choice == "cancel":
            self._root.send(launcher_root.Interrupt(signal.SIGINT))  # and go on, to see the end
        return choice == "leave"

    def _skipped(self, nbytes: int) -> None:
        about = f"about {-(-nbytes >> 20)} MiB of {self._name}'s output before this are no longer kept"
        print(f"cmpirun: {about}", file=sys.stderr)
