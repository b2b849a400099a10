"""The relay: makes the connections of a guest on another machine, on the machine of the job.

The guest's gateway starts it through ssh and talks to it through its stdin and stdout. The root sees the
relay as the guest's process, and proves itself to it; keys of connections between processes only pass.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections import deque

from cmpi._core.protocol import gateway_relay, launcher_agent
from cmpi._core.protocol.wire import Decoder, encode, handler
from cmpi._runtime.code_version import code_version
from cmpi._runtime.linux import home, job_folders
from cmpi._transport import clock, control_socket, door, socket_transport
from cmpi.errors import LaunchError, ProtocolError
from cmpi.launcher.hosts.channels import Channels
from cmpi.launcher.hosts.pipes import WatchedPipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

DIAL_S = 10.0
BEAT_S = 5.0  # without anything to send, TCP would not find out that the other machine is gone


class Relay:
    """Serves the gateway until the connection with it, or with the root, ends."""

    def __init__(self) -> None:
        self._selector = selectors.EpollSelector()
        self._pipe = WatchedPipe(0, os.dup(1), self._selector, lambda: None)
        os.dup2(2, 1)  # other output here is for the user, and must not mix with frames
        self._channels = Channels(self._selector, self._came, self._ended)
        self._listeners: dict[int, _socket.socket] = {}
        self._visits: dict[int, int] = {}  # by listener: how many have come
        self._dialled: set[int] = set()  # channels whose connections are being made
        self._next = 0
        self._over = False
        self._posted: deque[Callable[[], None]] = deque()  # by threads that dial
        self._wake, self._waken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._handlers: dict[type, Callable[[Any], None]] = {
            gateway_relay.JoinThere: self._join,
            gateway_relay.DialThere: self._dial,
            gateway_relay.ListenThere: self._listen,
            launcher_agent.Piece: lambda it: self._channels.push(it.channel, it.data),
            launcher_agent.Shut: lambda it: self._shut(it.channel),
        }

    def run(self) -> None:
        """Serve until the end."""
        self._pipe.write(launcher_agent.GREETING + f"{code_version()}\n".encode())
        decoder = Decoder(gateway_relay.TO_RELAY)
        self._selector.register(self._pipe.readable, selectors.EVENT_READ, (self._read, decoder))
        self._selector.register(self._wake, selectors.EVENT_READ, (self._run_posted,))
        beat_s = clock.now_s()
        while not self._over:
            self._turn()
            if clock.now_s() >= beat_s + BEAT_S:
                beat_s = clock.now_s()
                self._send(launcher_agent.Beat())
        self._channels.shut_all()
        end_s = clock.now_s() + gateway_relay.LEAVE_S
        while self._channels and clock.now_s() < end_s:
            self._turn()
        for listener in self._listeners.values():
            _close(listener)

    def _turn(self) -> None:
        for key, events in self._selector.select(BEAT_S):
            call, *arguments = key.data
            call(*arguments, events)

    def _read(self, decoder: Decoder, _: int) -> None:
        data = self._pipe.read()
        if data == b"":
            self._over = True
            self._selector.unregister(self._pipe.readable)
        for frame in decoder.feed(data or b""):
            handler(self._handlers, frame)(frame)

    def _send(self, frame: Any) -> None:
        self._pipe.write(encode(frame))

    def _post(self, act: Callable[[], None]) -> None:
        self._posted.append(act)
        os.write(self._waken, b"x")

    def _run_posted(self, _: int) -> None:
        os.read(self._wake, 64)
        while self._posted:
            self._posted.popleft()()

    # -- channels ------------------------------------------------------------------------------

    def _came(self, channel: int, data: bytes) -> None:
        self._send(launcher_agent.Piece(channel, data))

    def _ended(self, channel: int) -> None:
        self._send(launcher_agent.Shut(channel))

    def _shut(self, channel: int) -> None:
        if channel in self._listeners:
            self._stop_listening(channel)
        self._dialled.discard(channel)
        self._channels.shut(channel)
        self._over |= channel == gateway_relay.ROOT

    def _join(self, frame: gateway_relay.JoinThere) -> None:
        try:
            stream = control_socket.connect_in(job_folders.the_one(frame.job), "root", {})
        except (LaunchError, OSError, ProtocolError) as error:
            self._send(gateway_relay.Joined(str(error)))
            return
        self._send(gateway_relay.Joined(""))
        self._channels.add(gateway_relay.ROOT, socket.socket(fileno=os.dup(stream.fileno())))
        stream.close()

    def _dial(self, frame: gateway_relay.DialThere) -> None:
        self._dialled.add(frame.channel)
        threading.Thread(target=self._connect, args=(frame,), daemon=True).start()

    def _connect(self, frame: gateway_relay.DialThere) -> None:
        connection = next(socket_transport.connections(frame.address, frame.port, DIAL_S), None)
        self._post(lambda: self._connected(frame.channel, connection))

    def _connected(self, channel: int, connection: socket.socket | None) -> None:
        wanted = channel in self._dialled
        self._dialled.discard(channel)
        if connection is not None and wanted:
            self._channels.add(channel, connection)
        elif connection is not None:
            connection.close()
        elif wanted:
            self._ended(channel)

    def _listen(self, frame: gateway_relay.ListenThere) -> None:
        try:
            listener = socket_transport.server(frame.address)
        except OSError:
            return  # the guest waits a while, and the root will order it again
        listener.setblocking(False)
        self._listeners[frame.number], self._visits[frame.number] = listener, 0
        self._selector.register(listener, selectors.EVENT_READ, (self._accept, frame.number))
        self._send(gateway_relay.ListensThere(frame.number, socket_transport.port(listener)))

    def _stop_listening(self, number: int) -> None:
        listener = self._listeners.pop(number)
        del self._visits[number]
        self._selector.unregister(listener)
        _close(listener)

    def _accept(self, number: int, _: int) -> None:
        """Pass one on, which has proved nothing yet: one of them is the peer. As many as a door would let
        come; if all were strangers, the root orders the connection anew."""
        if number not in self._listeners:
            return
        try:
            accepted = door.accept(self._listeners[number])
        except OSError:
            return  # out of descriptors: it waits until others have gone
        if accepted is not None:
            self._visits[number] += 1
            if self._visits[number] == door.MAX_VISITORS:
                self._stop_listening(number)
            self._next += 2
            self._send(gateway_relay.CameThere(number, self._next))
            self._channels.add(self._next, socket.socket(fileno=accepted.detach()))


def _close(listener: _socket.socket) -> None:
    path = listener.getsockname() if listener.family == socket.AF_UNIX else ""
    listener.close()
    if path and os.path.exists(path):
        os.unlink(path)


def main() -> int:
    """Run the relay; returns its exit code."""
    home.ensure()
    Relay().run()
    return 0
