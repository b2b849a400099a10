"""Has the cmpirun of a running job copy a program to those of its hosts that lack it: for `cmpirun --in`,
which runs where that cmpirun does."""

from __future__ import annotations

import os
import signal
import sys

from cmpi._base.frozen import frozen
from cmpi._core.protocol import command_launcher, launcher_root
from cmpi._core.protocol.wire import encode
from cmpi._runtime import environment as names
from cmpi._transport import clock, control_socket
from cmpi.errors import LaunchError, ProtocolError
from cmpi.launcher.hosts.staging import Shipment, pack, program_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cmpi.launcher.config import LaunchConfig

LOOK_S = 9.0  # how long the hosts may take to look for the program
COPY_S = 300.0  # how long they may take to receive and unpack it


@frozen
class Copies:
    """What the root must know about the copies. They are removed when `connection` is closed, unless they
    are to stay."""

    hosts: bytes = b""  # HostIs frames of the hosts that have one
    settings: list[str] = []  # for the environment of the ranks
    connection: control_socket.ControlSocket | None = None


def provide(folder: str, config: LaunchConfig) -> Copies:
    """Copy the program's folder to the hosts that lack it; or --ship's, to all.

    Args:
        folder: The job's.
        config: The options.

    Raises:
        CmpiError: That is impossible.

    Blocks: until all hosts have answered, within limits. Signals end cmpirun meanwhile.
    """
    program = program_file(config.argv, os.getcwd())
    if not (program or config.ship):
        return Copies()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        stream = control_socket.connect_in(folder, "rsh", command_launcher.TO_DEPLOYING)
    except OSError as error:
        raise LaunchError(f"the job {config.into} has ended: {error.strerror}") from None
    program = "" if config.ship else program
    stream.send(command_launcher.AskLacking(program))
    lacking = _answer(stream, LOOK_S, config).hosts
    if not lacking:
        stream.close()
        return Copies()
    source = os.path.abspath(config.ship) if config.ship else os.path.dirname(program)
    archive, name = pack(source, asked=bool(config.ship))
    shipment = Shipment(source, f"{folder}/{name}-{os.urandom(4).hex()}")
    with archive:
        frame = command_launcher.CopyFolder(lacking, program, shipment.there, config.detach)
        control_socket.send_with_fds(stream, frame, [archive.fileno()])
    if faults := _answer(stream, COPY_S, config).faults:
        raise LaunchError("\n".join(faults))
    return _copies(stream, shipment, lacking, config.argv)


def _answer(stream: control_socket.ControlSocket, limit_s: float, config: LaunchConfig) -> Any:
    """The next frame. Raises: LaunchError: There is none."""
    end_s = clock.now_s() + limit_s
    try:
        while not stream.closed and clock.wait_readable(stream.fileno(), end_s):
            for frame in stream.receive():
                return frame
    except ProtocolError as error:
        raise LaunchError(f"the job {config.into} does not copy the program: {error}") from None
    why = "it has ended" if stream.closed else f"it has not answered within {limit_s:g} s"
    raise LaunchError(f"the job {config.into} has not copied the program to its hosts: {why}")


def _copies(
    stream: control_socket.ControlSocket, shipment: Shipment, hosts: list[str], argv: list[str]
) -> Copies:
    cwd = os.getcwd()
    inside = shipment.path(cwd, "/")
    described = [
        launcher_root.HostIs(
            name=name,
            address="",
            python="",
            cwd=[inside if inside != cwd else shipment.there],
            argv=shipment.argv(argv, cwd),
            cpu_units=0,
            memory_bytes=0,
            cores=[],
        )
        for name in hosts
    ]
    settings = [f"{names.SHIPPED}={shipment.folder}\n{shipment.there}"]
    return Copies(b"".join(map(encode, described)), settings, stream)
