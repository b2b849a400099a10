"""The agent: plays cmpirun's part on each other host of the job.

cmpirun starts it through ssh and talks to it through its stdin and stdout, so that nothing listens on the
network and ssh protects all traffic. The agent listens at the path of the root's socket. What proves there
that it knows the job's secret is connected with the root, where cmpirun proves the same in its place. The
agent also runs what cmpirun asks for: MPI's daemons and the host spawner. All processes
of the job on this host descend from the agent and end with it: when the job is over, when the connection
closes, or when nothing has come from cmpirun for `Begin.lost_s`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time

from cmpi._core.protocol import launcher_agent
from cmpi._core.protocol.wire import Decoder, encode, handler
from cmpi._core.scheduling.capacity import usable
from cmpi._runtime import environment, programs
from cmpi._runtime.batch_end import blocked_in_mpiexec
from cmpi._runtime.code_version import code_version
from cmpi._runtime.linux import (
    descendants,
    home,
    host_facts,
    interfaces,
    leftovers,
    open_files,
    shared_memory_room,
    trusted_folder,
)
from cmpi._transport import clock, job_secret
from cmpi._transport.door import Door, listen
from cmpi.errors import LaunchError
from cmpi.launcher.hosts.channels import Channels
from cmpi.launcher.mpi.find_mpi import check_version, find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi.launcher.hosts.staging import Unpacker


GUARDIAN_S = 1.0  # how long the job's processes have to end after the agent was killed
BASH = "/bin/bash"


class Agent:
    """Serves cmpirun until the job is over. `run` returns when nothing of the job is left on this host."""

    def __init__(self) -> None:
        self._in, self._out = 0, os.dup(1)
        os.dup2(2, 1)  # other output here is for the user, and must not mix with frames
        for fd in (self._in, self._out):
            os.set_blocking(fd, False)
        self._unwritten = bytearray()
        self._writing = False
        self._selector = selectors.DefaultSelector()
        self._decoder = Decoder(launcher_agent.TO_AGENT)
        self._door: Door | None = None
        self._channels = Channels(
            self._selector,
            lambda channel, data: self._send(launcher_agent.Piece(channel, data)),
            lambda channel: self._send(launcher_agent.Shut(channel)),
        )
        self._commands: dict[int, subprocess.Popen[bytes]] = {}
        self._next = 0
        self._folders: list[str] = []
        self._environment: dict[str, str] = {}
        self._cwd = "/"
        self._unpacker: Unpacker | None = None
        self._over = False
        self._handlers = self._requests()
        self._heard_s = self._beat_s = clock.now_s()
        self._lost_s = launcher_agent.LOST_S + launcher_agent.LEAVE_LATER_S

    def run(self) -> None:
        """Serve cmpirun, then clean up."""
        descendants.adopt_orphans()
        open_files.raise_limit()  # for MPI's launcher here
        in_slurm = "SLURM_JOB_ID" in os.environ  # cmpirun gets Slurm's SIGTERM too: see `batch_end`
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            ignored = in_slurm and number == signal.SIGTERM
            signal.signal(number, signal.SIG_IGN if ignored else lambda *_: self._end())
        self._unwritten += launcher_agent.GREETING + f"{code_version()}\n".encode()
        self._send(facts())
        self._selector.register(self._in, selectors.EVENT_READ, (self._on_input,))
        try:
            while not self._over:
                for key, events in self._selector.select(launcher_agent.BEAT_S / 2):
                    call, *arguments = key.data
                    call(*arguments, events)
                self._reap()
                self._admit()
                now_s = clock.now_s()
                if now_s >= self._beat_s + launcher_agent.BEAT_S:
                    self._beat_s = now_s
                    self._send(launcher_agent.Beat())
                if now_s >= self._heard_s + self._lost_s:
                    self._end()
        finally:
            self._clean_up()

    def _end(self) -> None:
        self._over = True

    def _clean_up(self) -> None:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        try:
            descendants.end_all()
        finally:
            leftovers.clean_up(self._folders)

    def _send(self, frame: Any) -> None:
        """Write a frame, or queue it: an agent blocked in a write would not notice a cut connection."""
        self._unwritten += encode(frame)
        self._write()

    def _write(self, *_: object) -> None:
        waited = self._writing
        try:
            while self._unwritten:
                del self._unwritten[: os.write(self._out, self._unwritten)]
        except BlockingIOError:
            pass
        except OSError:
            self._over = True  # cmpirun, or the connection to it, has ended
        self._writing = bool(self._unwritten)
        if self._writing and not waited:
            self._selector.register(self._out, selectors.EVENT_WRITE, (self._write,))
        elif waited and not self._writing:
            self._selector.unregister(self._out)

    # -- from cmpirun ------------------------------------------------------------------------

    def _on_input(self, *_: object) -> None:
        try:
            data = os.read(self._in, 1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._over = True
            return
        self._heard_s = clock.now_s()
        for frame in self._decoder.feed(data):
            handler(self._handlers, frame)(frame)

    def _requests(self) -> dict[type, Callable[[Any], None]]:
        return {
            launcher_agent.Begin: self._answer_begin,
            launcher_agent.Piece: lambda frame: self._channels.push(frame.channel, frame.data),
            launcher_agent.Shut: lambda frame: self._channels.shut(frame.channel),
            launcher_agent.Run: self._run,
            launcher_agent.Unpack: self._unpack,
            launcher_agent.Look: lambda it: self._send(launcher_agent.Looked(os.path.isfile(it.program))),
            launcher_agent.EndAgent: lambda _: self._end(),
            launcher_agent.Beat: lambda _: None,  # a heartbeat needs no action
        }

    def _answer_begin(self, order: launcher_agent.Begin) -> None:
        fault = self._begin(order)
        self._send(launcher_agent.Begun(fault, not order.program or os.path.isfile(order.program)))

    def _begin(self, order: launcher_agent.Begin) -> str:
        """Create the job's folders and listen in them; returns why that failed, or ""."""
        self._lost_s = order.lost_s
        given = dict(item.split("=", 1) for item in order.environment)
        here = environment.OF_A_HOST
        self._environment = {**given, **{k: v for k, v in os.environ.items() if k in here}}
        for name in here - os.environ.keys():
            self._environment.pop(name, None)
        try:
            for folder in dict.fromkeys((order.folder, order.shared_memory)):
                if why := trusted_folder.fault(os.path.dirname(folder)):
                    fix = "chmod +t that folder, or set TMPDIR to another"
                    return f"the job's folder cannot be made here: {why}; {fix}"
                os.mkdir(folder, 0o700)
                self._folders.append(folder)
            job_secret.write(order.folder, order.key)
            self._leave_guardian()
            self._door = Door(listen(order.folder + "/root"), job_secret.read(order.folder).key)
        except OSError as error:
            return (
                f"cannot create the folder {error.filename}: {error.strerror}. Set TMPDIR to a local folder"
            )
        except LaunchError as error:
            return str(error)
        self._selector.register(self._door, selectors.EVENT_READ, (self._admit,))
        self._cwd = order.cwd if os.path.isdir(order.cwd) else order.folder
        return ""

    def _leave_guardian(self) -> None:
        """Fork a process that removes the job's folders if the agent is killed. If the agent ends
        normally, it kills this process with all others."""
        alive, agent = os.pipe2(os.O_CLOEXEC)
        if os.fork() != 0:
            os.close(alive)  # the process ends when `agent` is closed
            return
        os.close(agent)
        for fd in (self._in, self._out, 0, 1, 2):
            with contextlib.suppress(OSError):
                os.close(fd)
        os.setsid()
        os.read(alive, 1)
        time.sleep(GUARDIAN_S)
        leftovers.clean_up(self._folders)
        os._exit(0)

    def _run(self, order: launcher_agent.Run) -> None:
        settings = dict(item.split("=", 1) for item in order.settings)
        # Dash, which is /bin/sh in Debian, unblocks all signals; bash does not.
        shell = order.argv[0] == launcher_agent.SHELL and os.path.exists(BASH)
        argv = [BASH, *order.argv[1:]] if shell else order.argv
        mask = blocked_in_mpiexec(self._environment)
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, mask)
            process = subprocess.Popen(
                argv,
                env=self._environment | settings,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self._send(launcher_agent.Piece(order.channel, f"{order.argv[0]}: {error.strerror}\n".encode()))
            self._send(launcher_agent.CommandEnded(order.channel, 127))
            return
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, mask)
        assert process.stdout is not None
        self._commands[order.channel] = process
        listener = (self._listen_to, order.channel, process.stdout.fileno())
        self._selector.register(process.stdout, selectors.EVENT_READ, listener)

    def _unpack(self, frame: launcher_agent.Unpack) -> None:
        from cmpi.launcher.hosts.staging import Unpacker

        if self._unpacker is None:
            self._unpacker = Unpacker(self._folders[0])
        self._unpacker.take(frame.data)
        if frame.last:
            fault = self._unpacker.finish(frame.there)
            self._unpacker = None
            if frame.folder:
                self._environment[environment.SHIPPED] = f"{frame.folder}\n{frame.there}"
            self._send(launcher_agent.Unpacked(fault))

    # -- from this host ----------------------------------------------------------------------

    def _admit(self, *_: object) -> None:
        """Connect those that have proved themselves with the root."""
        for accepted in [] if self._door is None else self._door.admit(clock.now_s()):
            self._next += 2
            self._channels.add(self._next, socket.socket(fileno=accepted.detach()))
            self._send(launcher_agent.Came(self._next))

    def _listen_to(self, channel: int, fd: int, _: int) -> None:
        data = os.read(fd, launcher_agent.PIECE_BYTES)
        if data:
            self._send(launcher_agent.Piece(channel, data))
        else:
            self._selector.unregister(fd)

    def _reap(self) -> None:
        """Report commands that have ended, and reap their orphans."""
        commands = {process.pid: channel for channel, process in self._commands.items()}
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            channel = commands.get(ended.si_pid)
            if channel is None:
                os.waitpid(ended.si_pid, 0)
                continue
            code = self._commands.pop(channel).wait()
            self._send(launcher_agent.CommandEnded(channel, code if code >= 0 else 128 - code))


def facts(mpiexec: str = "") -> launcher_agent.HostFacts:
    """The facts about this host; about the MPI at `mpiexec` if that is given."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        mpi = find(mpiexec)
        mpi_facts = [mpi.kind, check_version(mpi.mpiexec)[1], mpi.mpiexec]
    except LaunchError as error:
        mpi_facts = [str(error)]
    try:
        mpi4py = version("mpi4py")
    except PackageNotFoundError:
        mpi4py = ""
    cpu_units, memory_bytes = usable(host_facts.facts(), os.environ)
    # "client address, client port, server address, server port"; see ssh(1), "Environment".
    connection = os.environ.get("SSH_CONNECTION", "").split()
    return launcher_agent.HostFacts(
        node=os.uname().nodename,
        cmpi=version("cmpi"),
        python=".".join(map(str, sys.version_info[:3])),
        executable=sys.executable,
        mpi4py=mpi4py,
        home=programs.home(),
        mpi=mpi_facts,
        cpu_units=cpu_units,
        memory_bytes=memory_bytes,
        cores=sorted(os.sched_getaffinity(0)),
        address=" ".join((connection[2], connection[0])) if len(connection) == 4 else "",
        superuser=os.geteuid() == 0,
        rdma=host_facts.has_rdma(),
        fabric=host_facts.fabric(),
        temporary=trusted_folder.unfit(os.environ.get("TMPDIR", "/tmp")),
        shared_memory_bytes=shared_memory_room.free_bytes() or 0,
        machine=_machine(),
        path=[folder for folder in sys.path if folder],
        interfaces=interfaces.addresses(),
    )


def _machine() -> str:
    """An identity of this host: the kernel's boot id and our network namespace."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.stat('/proc/self/ns/net').st_ino}"
    except OSError:
        return ""


def main() -> int:
    """Run the agent; returns its exit code."""
    home.ensure()
    Agent().run()
    return 0
