"""The gateway of a guest whose job is on another machine: `cmpi.Job.attach("HOST:NAME")` starts it.

It makes a folder like a job's, in which it stands in for the root, and passes the guest's frames on through
ssh to a relay on the other machine. The addresses in frames about connections it replaces by paths in its
folder, from which the connections continue through ssh, too. So nothing listens on the network, and the
job's secret stays there: the folder has one of its own.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys

from cmpi._base.frozen import replace
from cmpi._core.protocol import gateway_relay, guest_root, launcher_agent, process_root
from cmpi._core.protocol.process_root_connections import (
    ConnectionFailed,
    ConnectionUp,
    Dial,
    ListenFor,
    Listening,
)
from cmpi._core.protocol.wire import Decoder, encode
from cmpi._runtime.linux import job_folders, leftovers
from cmpi._transport import clock, door, job_secret, socket_transport
from cmpi.errors import CmpiError, LaunchError, ProtocolError
from cmpi.launcher import cli
from cmpi.launcher.hosts import choice
from cmpi.launcher.hosts.channels import Channels
from cmpi.launcher.hosts.far_machine import ALIVE, FarMachine
from cmpi.launcher.hosts.remote_host import RELAY
from cmpi.launcher.run import temporary_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from cmpi.launcher.config import LaunchConfig

GUEST = gateway_relay.ROOT  # the channel
CONNECT_S = 1.0  # to a path on this host


def run(config: LaunchConfig) -> int:
    """Serve one guest until it leaves; returns the exit code, or exits with a message."""
    keeper, ready = config.keeper
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = ""
    try:
        gateway = _Gateway(config)
        folder = f"{temporary_folder()}/{job_folders.PREFIX}{os.urandom(6).hex()}"
        os.mkdir(folder, 0o700)
        gateway.open(folder)
        os.write(ready, f"{folder}\n".encode())
        os.close(ready)
        gateway.serve(os.pidfd_open(keeper))
    except (CmpiError, OSError) as error:
        cli.fail(str(error), 1)
    finally:
        if folder:
            leftovers.remove_folders([folder])
    return 0


class _Gateway:
    """The gateway. The loop of `serve` calls everything."""

    def __init__(self, config: LaunchConfig) -> None:
        self._selector = selectors.EpollSelector()
        handlers: dict[type, Callable[[Any], None]] = {
            gateway_relay.ListensThere: self._listens,
            gateway_relay.CameThere: self._came_there,
            launcher_agent.Piece: lambda it: self._from_there(it.channel, it.data),
            launcher_agent.Shut: lambda it: self._shut(it.channel),
            launcher_agent.Beat: lambda _: None,
        }
        self._machine = FarMachine(
            config.elsewhere,
            choice.ways_to_job(config, ALIVE, config.relay),
            self._selector,
            RELAY,
            gateway_relay.TO_GATEWAY,
            handlers,
            gateway_relay.Joined,
        )
        joined = self._machine.ask(gateway_relay.JoinThere(config.relay), config.ssh_timeout_s)
        if joined.fault:
            raise LaunchError(f"{self._machine.name}: {joined.fault}")
        self._channels = Channels(self._selector, self._from_here, self._ended)
        self._to_root = Decoder(guest_root.TO_ROOT)
        self._to_guest = Decoder({**guest_root.TO_GUEST, **process_root.TO_PROCESS})
        self._next, self._paths = -1, 0
        self._over = False
        self._doors: dict[int, tuple[_socket.socket, Dial]] = {}  # where the guest is to dial, by peer
        # By peer: where the guest listens, and the address at which others are to reach that.
        self._ordered: dict[int, tuple[str, str]] = {}
        self._listeners: dict[int, tuple[int, str]] = {}  # by number: the peer, and where the guest listens
        # Replacements of frames on their way.
        self._changes: dict[type, Callable[[Any], Any]] = {
            guest_root.GuestUp: lambda it: replace(it, label=f"{it.label}, on {os.uname().nodename}"),
            guest_root.GuestMayJoin: lambda it: replace(it, shared_memory=""),
            process_root.Welcome: lambda it: replace(it, bells=self._folder),
            Dial: self._dial,
            ListenFor: self._listen,
            Listening: self._listening,
            ConnectionUp: self._settled,
            ConnectionFailed: self._settled,
        }

    def open(self, folder: str) -> None:
        """Stand in for the root in this folder."""
        self._folder = folder
        self._secret = job_secret.create(folder)
        self._door = door.Door(door.listen(f"{folder}/root"), self._secret.key)
        self._selector.register(self._door, selectors.EVENT_READ, (self._admit,))

    def serve(self, keeper: int) -> None:
        """Serve until the guest leaves, or ends, or the connection is lost."""
        self._selector.register(keeper, selectors.EVENT_READ, (self._end,))
        while not (self._over or self._machine.gone):
            self._machine.turn(None if self._door.deadline_s is None else 1.0)
            self._admit(0)
        end_s = clock.now_s() + gateway_relay.LEAVE_S
        while self._channels and not self._machine.gone and clock.now_s() < end_s:
            self._machine.turn(0.1)  # what the guest has sent is still on its way
        self._machine.tell(launcher_agent.Shut(GUEST))
        while not self._machine.gone and clock.now_s() < end_s:
            self._machine.turn(0.1)
        self._machine.close()

    def _end(self, _: int) -> None:
        self._over = True

    def _admit(self, _: int) -> None:
        for accepted in self._door.admit(clock.now_s()):
            if GUEST in self._channels:
                accepted.close()  # there is one guest
            else:
                self._channels.add(GUEST, socket.socket(fileno=accepted.detach()))

    # -- the guest's frames, and its connections -------------------------------------------------

    def _from_here(self, channel: int, data: bytes) -> None:
        if channel == GUEST:
            data = self._changed(self._to_root, data)
        if data:
            self._machine.tell(launcher_agent.Piece(channel, data))

    def _from_there(self, channel: int, data: bytes) -> None:
        self._channels.push(channel, self._changed(self._to_guest, data) if channel == GUEST else data)

    def _changed(self, decoder: Decoder, data: bytes) -> bytes:
        """The frames that these data complete, with what must be replaced."""
        try:
            frames = [self._changes.get(type(frame), lambda it: it)(frame) for frame in decoder.feed(data)]
        except ProtocolError:
            self._over = True  # the root reports what is wrong with a guest that it drops
            return b""
        return b"".join(encode(frame) for frame in frames if frame is not None)

    def _ended(self, channel: int) -> None:
        if channel == GUEST:
            self._over = True  # the relay is told once all other channels have ended
        else:
            self._machine.tell(launcher_agent.Shut(channel))

    def _shut(self, channel: int) -> None:
        self._channels.shut(channel)
        self._over |= channel == GUEST

    def _path(self) -> str:
        self._paths += 1
        return f"{self._folder}/{self._paths}.link"

    def _new_channel(self) -> int:
        self._next += 2
        return self._next

    def _dial(self, frame: Dial) -> Dial:
        self._settled(frame)
        path = self._path()
        listener = door.listening(socket.AF_UNIX, path)
        listener.setblocking(False)
        self._doors[frame.peer] = listener, frame
        self._selector.register(listener, selectors.EVENT_READ, (self._dialled, frame.peer))
        return Dial(frame.peer, path, 0, frame.key)

    def _dialled(self, peer: int, _: int) -> None:
        if peer not in self._doors:
            return
        listener, frame = self._doors[peer]
        try:
            accepted = door.accept(listener)
        except OSError:
            return  # out of descriptors: it waits until others have gone
        if accepted is not None:
            channel = self._new_channel()
            self._channels.add(channel, socket.socket(fileno=accepted.detach()))
            self._machine.tell(gateway_relay.DialThere(channel, frame.address, frame.port))

    def _listen(self, frame: ListenFor) -> ListenFor:
        self._settled(frame)
        path = self._path()
        self._ordered[frame.peer] = path, frame.address
        return ListenFor(frame.peer, path, frame.key, frame.carried)

    def _listening(self, frame: Listening) -> None:
        """The guest listens: now listen there. The root is told when the relay does."""
        if frame.peer in self._ordered:
            path, address = self._ordered.pop(frame.peer)
            number = self._new_channel()
            self._listeners[number] = frame.peer, path
            self._machine.tell(gateway_relay.ListenThere(number, address))

    def _listens(self, frame: gateway_relay.ListensThere) -> None:
        if frame.number in self._listeners:
            listening = encode(Listening(self._listeners[frame.number][0], frame.port))
            self._machine.tell(launcher_agent.Piece(GUEST, listening))

    def _came_there(self, frame: gateway_relay.CameThere) -> None:
        _, path = self._listeners.get(frame.number, (0, ""))
        connection = next(socket_transport.connections(path, 0, CONNECT_S), None) if path else None
        if connection is None:  # the guest does not listen any more
            self._machine.tell(launcher_agent.Shut(frame.channel))
        else:
            self._channels.add(frame.channel, connection)

    def _settled(self, frame: Any) -> Any:
        """The connection with this peer is up, or is given up, or is ordered anew: nobody is to come any
        more."""
        peer = frame.peer
        self._ordered.pop(peer, None)
        if peer in self._doors:
            listener, _ = self._doors.pop(peer)
            self._selector.unregister(listener)
            listener.close()
        for number in [number for number, (other, _) in self._listeners.items() if other == peer]:
            del self._listeners[number]
            self._machine.tell(launcher_agent.Shut(number))
        return frame
