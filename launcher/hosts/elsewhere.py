"""`cmpirun --in HOST:NAME` and the like: has a cmpirun run on another machine, where the job is, with this
one's input, output, signals and environment."""

from __future__ import annotations

import os
import selectors
import signal
import sys
from collections import deque

from cmpi._core.protocol import launcher_agent, launcher_proxy, launcher_root
from cmpi._runtime import environment as names
from cmpi._runtime.linux.job_folders import machine_and_name
from cmpi._runtime.linux.write_all import write_all
from cmpi._runtime.stdin_feeder import StdinFeeder
from cmpi.errors import CmpiError, LaunchError
from cmpi.launcher import cli, job_order
from cmpi.launcher.hosts import choice
from cmpi.launcher.hosts.far_machine import ALIVE, FarMachine
from cmpi.launcher.hosts.remote_host import PROXY
from cmpi.launcher.hosts.staging import Shipment, pack, pieces, program_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi.launcher.config import LaunchConfig

LOST = 255  # the exit code of ssh, too


def run(config: LaunchConfig) -> int:
    """Have cmpirun run there; returns its exit code, or exits with a message."""
    if names.CONTROL in os.environ:
        cli.fail("this is already a process of a cmpi job; start further processes with cmpi.spawn()")
    try:
        return _Elsewhere(config).run()
    except CmpiError as error:
        cli.fail(str(error))
    except BrokenPipeError:
        return 128 + signal.SIGPIPE  # nobody reads our output any more


class _Elsewhere:
    """The connection with the proxy, and what passes through it."""

    def __init__(self, config: LaunchConfig) -> None:
        self._config = config
        self._selector = selectors.EpollSelector()
        self._code: int | None = None
        self._signals: list[int] = []
        self._typed: deque[bytes] = deque()  # input that has not been sent
        self._feeder = StdinFeeder(job_order.stdin())
        self._wake, self._waken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        handlers: dict[type, Callable[[Any], None]] = {
            launcher_agent.Piece: lambda it: write_all(it.channel, it.data),
            launcher_proxy.InputTaken: lambda it: self._feeder.taken(it.nbytes),
            launcher_agent.CommandEnded: self._ended,
            launcher_agent.Beat: lambda _: None,
        }
        self._machine = FarMachine(
            config.elsewhere,
            choice.ways_to_job(config, ALIVE, _job(config)),
            self._selector,
            PROXY,
            launcher_proxy.TO_LAUNCHER,
            handlers,
            launcher_proxy.Prepared,
            launcher_agent.Unpacked,
        )

    def run(self) -> int:
        """Prepare, then pass everything on until the end; returns the exit code."""
        try:
            arguments, cwd, keep = self._prepare()
            self._catch_signals()
            self._machine.tell(self._order(arguments, cwd, keep=keep))
            if self._config.argv and not self._config.detach:
                self._feeder.start(self._feed)
            return self._follow()
        finally:
            self._feeder.close()
            self._machine.close()

    # -- before cmpirun runs there --------------------------------------------------------------

    def _prepare(self) -> tuple[list[str], str, bool]:
        """Send the program's folder if it is missing there; returns cmpirun's arguments and the working
        folder there, and whether what was sent must stay. Raises: CmpiError."""
        config, cwd = self._config, os.getcwd()
        program = program_file(config.argv, cwd)
        prepared = self._machine.ask(launcher_proxy.Prepare(config.into, program), config.ssh_timeout_s)
        if prepared.fault:
            raise LaunchError(f"{self._machine.name}: {prepared.fault}")
        if not config.argv or (prepared.has_program and not config.ship):
            return [*config.inner, *config.argv], cwd, False
        source = os.path.abspath(config.ship) if config.ship else os.path.dirname(program)
        archive, name = pack(source, asked=bool(config.ship))
        with archive:
            shipment = Shipment(source, f"{prepared.folder}/{name}-{os.urandom(4).hex()}")
            unpacked = self._machine.ship(pieces(archive, shipment))
        if unpacked.fault:
            raise LaunchError(f"{self._machine.name}: {unpacked.fault}")
        inside = shipment.path(cwd, "/")
        on = ["--ship", shipment.there] if config.ship else []  # to the job's other hosts
        arguments = [*config.inner, *on, *shipment.argv(config.argv, cwd)]
        return arguments, inside if inside != cwd else shipment.there, config.detach

    def _order(self, arguments: list[str], cwd: str, *, keep: bool) -> launcher_proxy.RunCmpirun:
        terminals = [str(fd) for fd in (1, 2) if os.isatty(fd)]
        columns, lines = _size(terminals)
        return launcher_proxy.RunCmpirun(
            arguments=arguments,
            environment=[
                f"{name}={value}"
                for name, value in os.environ.items()
                if name not in names.OF_A_HOST and not name.startswith(names.PREFIX)
            ],
            cwd=cwd,
            terminals=terminals,
            one_place=job_order.same_place(1, 2),
            columns=columns,
            lines=lines,
            keep=keep,
        )

    # -- while it runs ---------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        signal.set_wakeup_fd(self._waken)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH):
            # Signals ignored by nohup or in the background stay ignored, except for what ends nothing.
            harmless = number in (signal.SIGQUIT, signal.SIGWINCH)
            if harmless or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: None)
        self._selector.register(self._wake, selectors.EVENT_READ, (self._woken,))

    def _follow(self) -> int:
        while self._code is None:
            if self._machine.gone:
                why = f": {self._machine.last_words}" if self._machine.last_words else ""
                print(f"cmpirun: the connection with {self._machine.name} has ended{why}", file=sys.stderr)
                return LOST
            self._machine.turn(None)
            if len(self._signals) > 2:
                return 128 + self._signals[0]  # at once; the end of the connection ends the rest
        return self._code

    def _ended(self, frame: launcher_agent.CommandEnded) -> None:
        self._code = frame.code

    def _feed(self, data: bytes) -> None:
        """Called in the thread that reads our input."""
        self._typed.append(data)
        os.write(self._waken, b"\0")

    def _woken(self, _: int) -> None:
        for number in os.read(self._wake, 64):
            if number == signal.SIGWINCH:
                self._machine.tell(launcher_proxy.Resized(*_size(["1", "2"])))
            elif number:
                self._machine.tell(launcher_root.Interrupt(number))
                if number != signal.SIGQUIT:
                    self._signals.append(number)
        while self._typed:
            data = self._typed.popleft()
            frame = launcher_agent.Piece(launcher_proxy.STDIN, data) if data else launcher_agent.Shut(0)
            self._machine.tell(frame)


def _job(config: LaunchConfig) -> str:
    """The name of the job there; "": none."""
    named = config.into or config.stop or (config.about_job[1] if config.about_job else "")
    return machine_and_name(named)[1].partition("/")[0]


def _size(terminals: list[str]) -> tuple[int, int]:
    """The columns and lines of the first of these descriptors that is a terminal."""
    for fd in map(int, terminals):
        try:
            size = os.get_terminal_size(fd)
        except OSError:
            continue
        return size.columns, size.lines
    return 80, 24
