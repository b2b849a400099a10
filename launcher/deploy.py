"""`cmpirun --in NAME`: runs a program in a running job.

The root of that job starts the program, and writes the program's output directly to this cmpirun's
terminal. This cmpirun passes signals on, and ends with the program's exit code. If it is killed, the root
sees the end of its connection, and ends the program. With `--detach`, this cmpirun ends at once, and the
root keeps the output, which `visits` shows.
"""

from __future__ import annotations

import os
import select
import sys

from cmpi._core.protocol import deployment_root, launcher_root
from cmpi._runtime import environment as names
from cmpi._runtime.linux import job_folders
from cmpi._runtime.process import inheritance
from cmpi._transport import control_socket
from cmpi.errors import CmpiError, LaunchError, ProtocolError
from cmpi.launcher import cli, job_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping

    from cmpi.launcher.config import LaunchConfig
    from cmpi.launcher.hosts.copy_program import Copies
else:
    import _signal as signal  # without the enums of `signal`, whose import takes 2 ms


def run(config: LaunchConfig) -> int:
    """Run the program to its end; returns cmpirun's exit code, or exits with a message."""
    if names.CONTROL in os.environ:
        cli.fail("this is already a process of a cmpi job; start further processes with cmpi.spawn()")
    if 0 < config.cpu_units < config.n * config.rank_cpu_units:
        cli.fail(
            f"--rank-cpus reserves more for {config.n} ranks than --cpus allows the deployment; give more"
        )
    try:
        job_order.check_folder(config.output_dir)
        return _run(job_folders.the_one(config.into), config)
    except CmpiError as error:
        cli.fail(str(error))


def _run(folder: str, config: LaunchConfig) -> int:
    copies = _copies(folder, config)
    if config.detach:
        return _detach(folder, config, copies)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # Signals ignored by nohup or in the background stay ignored; SIGQUIT only asks for a report.
        if number == signal.SIGQUIT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    return _follow(_deploy(folder, config, copies), wake_read, config.into)


def _copies(folder: str, config: LaunchConfig) -> Copies | None:
    """Copy the program to hosts that lack it; None: the job has no other hosts."""
    if not os.path.exists(f"{folder}/rsh"):
        return None
    from cmpi.launcher.hosts import copy_program

    return copy_program.provide(folder, config)


def _detach(folder: str, config: LaunchConfig, copies: Copies | None) -> int:
    """Have the root start the program and keep its output; print the deployment's name."""
    root = _deploy(folder, config, copies)
    try:
        deployed, _ = control_socket.receive_with_fds(root)
    except ProtocolError as error:
        raise LaunchError(f"the job {config.into} does not accept a program: {error}") from None
    print(f"{config.via}{config.into}/{deployed.pid:07x}")
    return 0


def _deploy(folder: str, config: LaunchConfig, copies: Copies | None) -> control_socket.ControlSocket:
    """Have the root start the program."""
    copied, extra = (copies.hosts, copies.settings) if copies else (b"", [])
    interpreter = inheritance.interpreter()
    try:
        root = control_socket.connect_in(folder, "root", deployment_root.TO_CMPIRUN)
        root.send(
            deployment_root.DeploymentUp(interpreter.program, interpreter.flags, interpreter.settings)
        )
        answer, _ = control_socket.receive_with_fds(root)
        changes = [*settings(os.environ, answer.inherited), *extra]
        order = job_order.make(config, [""] * config.n, changes, hosts=copied)
        terminal = [os.open(os.devnull, os.O_RDWR)] * 3 if config.detach else [job_order.stdin(), 1, 2]
        control_socket.send_with_fds(root, order, terminal)
    except (OSError, ProtocolError) as error:
        raise LaunchError(f"the job {config.into} does not accept a program: {error}") from None
    return root


def settings(ours: Mapping[str, str], theirs: list[str]) -> list[str]:
    """The changes that give the program this cmpirun's environment, except for variables of MPI's launcher
    and cmpi.

    Args:
        ours: This cmpirun's environment.
        theirs: The names of the variables in the environment of the cmpirun that started the job.

    >>> settings({"A": "1", "PMIX_RANK": "0", "OMPI_MCA_btl": "tcp"}, ["A", "B", "CMPI_JOB"])
    ['B', 'A=1', 'OMPI_MCA_btl=tcp']
    """
    foreign = [name for name in theirs if name not in ours and _is_users(name)]
    return foreign + [f"{name}={value}" for name, value in ours.items() if _is_users(name)]


def _is_users(name: str) -> bool:
    if name.startswith(names.PREFIX):
        return False
    return name.startswith(names.SETTINGS_OF_MPI) or not name.startswith(names.OF_MPI)


def _follow(root: control_socket.ControlSocket, wake: int, job: str) -> int:
    """Pass signals on until the end."""
    signals: list[int] = []
    while True:
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(root, select.POLLIN | (select.POLLOUT if root.backlog else 0))
        ready = {fd for fd, _ in poll.poll()}
        for number in os.read(wake, 64) if wake in ready else b"":
            if number == signal.SIGQUIT:
                root.send(launcher_root.ShowStacks())
            elif number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signals.append(number)
                root.send(launcher_root.Interrupt(number))
        if len(signals) > 2:
            return 128 + signals[0]  # at once, on the third signal; the root ends the program by itself
        if root.fileno() not in ready:
            continue
        root.flush()
        for frame in root.receive():
            if isinstance(frame, launcher_root.Final):
                return frame.code
        if root.closed:
            print(f"cmpirun: the job {job} has ended, and this program with it", file=sys.stderr)
            return 128 + signals[0] if signals else 1
