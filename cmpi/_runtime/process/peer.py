"""Another process as this one sees it: the connection to it, and the ends of channels with it."""

from __future__ import annotations

import itertools
from functools import partial

from cmpi._core.channel import channel, windows
from cmpi._core.protocol import process_process
from cmpi._core.protocol.process_root_connections import ConnectionDropped
from cmpi._core.protocol.wire import handler
from cmpi._runtime.process.channel_ends import ReceiverEnd, SenderEnd
from cmpi._runtime.process.condition import ChannelCondition
from cmpi._runtime.process.connection import Connection
from cmpi._runtime.process.connection_condition import ConnectionCondition
from cmpi._runtime.process.end_table import EndTable
from cmpi._transport import clock, mpi

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence
    from typing import Any

    from cmpi._core.channel.contract import Contract
    from cmpi._runtime.process.aborts import Fate
    from cmpi._runtime.process.connection_host import PeerHost
    from cmpi._transport.pickling import Message
    from cmpi.identifiers import ExitStatus, Pid

QUIET_ROUNDS = 50  # looks at a dead peer's connection before it counts as empty
END_S = 1.0  # for what a peer sent by a socket before it died, and for the end of that connection
_numbers = itertools.count()


class Peer:
    """The connection to one process, and everything that goes over it. Guarded by the node's lock."""

    def __init__(self, host: PeerHost, pid: Pid) -> None:
        self._host, self.pid = host, pid
        self.lock: Any = host.lock
        self.connection = Connection(host, pid, self.on_frame, self.on_small)
        self.status: ExitStatus | None = None
        self.ends = EndTable(host.windows)
        self._bye_said = self._bye_heard = False
        self._failing = False  # the peer is about to end because of an exception
        self._quiet_left, self._exited_s = QUIET_ROUNDS, 0.0
        self._handlers = self._frames()

    # -- frames out --------------------------------------------------------------------------

    def transport_up(self, transport: mpi.MpiTransport) -> None:
        """The connection by MPI is made."""
        self.connection.transport = transport
        self._host.watch(self.pid)
        self.connection.flush()

    def socket_up(self, sock: _socket.socket, position: int, way: str) -> None:
        """There is a socket, the first or another one; see `Connection.resume`."""
        self.connection.resume(sock, position, way)
        self._host.watch(self.pid)

    def left(self) -> None:
        """The socket has dropped, and the peer is about to end: it has received all that it wants."""
        if self.status is None:
            self._bye_said = True
            self._bye(process_process.Bye(False))
            self.connection.hush()
            self.connection.free()

    # -- progress ----------------------------------------------------------------------------

    @property
    def restless(self) -> bool:
        """True if it is worth looking at the peer again soon."""
        dying = self.status is not None and self._quiet_left > 0
        return self.connection.restless or (dying and not self.connection.shut_out and not self._awaits_end)

    @property
    def under_way(self) -> bool:
        """True if this process knows of something unfinished between it and the peer."""
        unread = self.status is not None and self._quiet_left > 0  # it may still bring something
        return unread or not self.connection.idle or self.connection.halfway or self.restless

    @property
    def _awaits_end(self) -> bool:
        """True while the connection with a dead peer may still bring something: its end will be read there,
        unless the whole host is lost."""
        return self.connection.socket_inbox.usable and clock.now_s() < self._exited_s + END_S

    @property
    def _complete(self) -> bool:
        """True if both have said Bye, and nothing waits to be written."""
        return self._bye_said and self._bye_heard and not self.connection.busy

    def progress(self) -> bool:
        """Move frames in both directions; True if any moved."""
        moved = False
        if self.status is None or self._quiet_left:
            try:
                moved = self.connection.progress()
            except mpi.TransportBroken:
                self.connection.announced = 0  # nothing more can arrive; the exit notice will say why
            if self.connection.socket.dropped:
                self._report_drop()
            freed = self.connection.freed or self.connection.transport is None
            if self._complete and not (freed or self.connection.shut_out):
                # Free the transport before the peer ends: Open MPI (ULFM) takes the end of a connection for
                # a failure, looks for communicators that use it, and sometimes crashed in them. But not
                # before both sides have said Bye: a frame that was not received stays in MPI, and turns up
                # in the next connection, which may get the same context id.
                self.connection.free()
                moved = True
        held_up = self.connection.ring_inbox.stalled or self.connection.shut_out or self._awaits_end
        if self.status is not None and self._quiet_left and not held_up:
            # What went through shared memory was there before the notice. By MPI, it may arrive later.
            by_transport = self.connection.transport is not None and not self.connection.freed
            self._quiet_left = 0 if not by_transport else QUIET_ROUNDS if moved else self._quiet_left - 1
            if self._quiet_left == 0:
                self._fail_ends()
                self.connection.free(peer_ended=True)
        return moved

    def _report_drop(self) -> None:
        """The socket has dropped. If the peer lives, the root sees to another one, unless both have
        everything. An acknowledgement of the peer's last message may still wait to be written."""
        self.connection.socket.dropped = False
        if self.status is None and not self._complete:
            self._host.tell_root(ConnectionDropped(self.pid.value))

    def looked_at(self) -> None:
        """The program has received the end, or the failure, of the process."""
        self._host.looked_at(self.pid)

    def exited(self, status: ExitStatus) -> None:
        """The process has ended; `progress` still reads what it had sent."""
        self.status, self._exited_s = status, clock.now_s()
        self.connection.hush()
        self.connection.ring_inbox.map()  # it may have rung while our bell was full

    def _fail_ends(self) -> None:
        for end in self.ends.all():
            end.status = self.status
            if isinstance(end, SenderEnd):
                self.carry_out(end, channel.Gone())
            else:
                end.machine.handle(channel.Gone())
            end.changed.notify_all()

    # -- frames in ---------------------------------------------------------------------------

    def on_small(self, number: int, body: bytes) -> bool:
        """Take in a message that is a single pickle; return whether somebody waited for it."""
        end = self.ends.receivers.get(number)
        if end is None:
            return False
        end.machine.arrived(body, len(body))
        return bool(end.changed.waiters) and end.changed.stir()

    def on_frame(self, frame: Any, buffers: Sequence[Any]) -> None:
        """Take in a frame, and its buffers if it is a message. Raises: ProtocolError."""
        if isinstance(frame, process_process.Data):
            end = self.ends.receivers.get(frame.channel)
            if end is not None:
                nbytes = len(frame.body) + sum(frame.sizes)
                end.machine.arrived((frame.body, buffers), nbytes)
                end.changed.notify_all()
        else:
            handler(self._handlers, frame)(frame)

    def _frames(self) -> dict[type, Callable[[Any], None]]:
        """The handler of each frame except Data. A frame for an end that is closed has come too late, and
        is dropped."""
        return {
            process_process.Open: self._opened,
            process_process.Fin: lambda it: self._arrived(it.channel, channel.FinArrived()),
            process_process.SenderAborted: lambda it: self._arrived(
                it.channel, channel.AbortArrived(it.cause)
            ),
            process_process.AskCredit: self._credit_asked,
            process_process.WindowWidened: lambda it: self._of_reader(
                it.channel, channel.Widened(it.nbytes)
            ),
            process_process.Credit: lambda it: self._of_reader(
                it.channel, channel.CreditCame(it.nbytes, it.messages)
            ),
            process_process.ReceiverClosed: lambda it: self._of_reader(it.channel, channel.ReaderClosed()),
            process_process.ReceiverAborted: lambda it: self._of_reader(
                it.channel, channel.ReaderAborted(it.cause)
            ),
            process_process.Mismatch: self._mismatched,
            process_process.Bye: self._bye,
        }

    def _arrived(self, number: int, event: channel.IncomingEvent) -> None:
        end = self.ends.receivers.get(number)
        if end is not None:
            end.machine.handle(event)
            end.changed.notify_all()

    def _credit_asked(self, frame: process_process.AskCredit) -> None:
        end = self.ends.receivers.get(frame.channel)
        if end is not None:
            wider = self._host.windows.widen(end.machine.window_bytes, end.requested_bytes)
            if wider > end.machine.window_bytes:
                end.machine.set_window(wider, end.machine.window_messages)
                self.connection.post(process_process.WindowWidened(frame.channel, wider), wake=True)
            self._reply(end, end.machine.handle(channel.CreditAsked()))

    def _of_reader(self, number: int, event: channel.OutgoingEvent) -> None:
        end = self.ends.senders.get(number)
        if end is not None:
            self.carry_out(end, event)

    def _mismatched(self, frame: process_process.Mismatch) -> None:
        end = self.ends.senders.get(frame.channel)
        if end is not None:
            end.disagree(frame.contract, frame.site)
            self.carry_out(end, channel.ReaderClosed())

    def _bye(self, frame: process_process.Bye) -> None:
        self._bye_heard, self._failing = True, frame.failed
        self._host.nudge()  # the progress thread frees the connection
        if not frame.failed:  # else its exit status will say why
            for sender in list(self.ends.senders.values()):
                self.carry_out(sender, channel.ReaderClosed())  # it no longer reads
        if self.connection.chosen:
            self._last_word()
        else:
            self.connection.hush()

    def _opened(self, frame: process_process.Open) -> None:
        end = self.ends.take_expected(frame.name)
        if end is None:
            end = ReceiverEnd(self, frame.name)
            self.ends.add_unclaimed(end)
        end.number = frame.channel
        end.requested_bytes = frame.window_bytes
        end.machine.set_window(self._host.windows.open(frame.window_bytes), frame.window_messages)
        end.their_contract, end.their_site = frame.contract, frame.site
        self.ends.receivers[frame.channel] = end
        if end.claimed:
            self.compare(end)
        elif frame.name.startswith(process_process.RESERVED):
            self._host.inlets.opened(self, frame.name)

    # -- ends --------------------------------------------------------------------------------

    def new_sender(self, name: str, contract: Contract, site: str, window: tuple[int, int]) -> SenderEnd:
        """Open a sending end; the peer learns of it with the first message."""
        end = SenderEnd(self, name, contract, site, next(_numbers), window)
        self.ends.senders[end.number] = end
        self.narrow()
        self._mark(end)
        return end

    def narrow(self) -> None:
        """Begin with small windows if the peer has asked for memory, which it divides between channels."""
        promised_bytes = self._host.promised_bytes(self.pid)
        for end in self.ends.senders.values() if promised_bytes else ():
            end.machine.narrow(windows.first(end.requested_bytes, promised_bytes))

    def new_receiver(self, name: str, contract: Contract, site: str) -> ReceiverEnd:
        """Open a receiving end for the oldest unclaimed sender of that name, or for the next one."""
        end = self.ends.claim(name)
        if end is not None:
            end.contract, end.site = contract, site
        else:
            end = self.ends.expected[name] = ReceiverEnd(self, name, contract, site)
        end.claimed = True
        self._mark(end)
        if end.number is not None:
            self.compare(end)
        return end

    def new_condition(self) -> ChannelCondition:
        """What those wait for who wait for one of its ends."""
        return ConnectionCondition(self._host.lock, self._host.socket_waits, lambda: (self.connection,))

    def _mark(self, end: SenderEnd | ReceiverEnd) -> None:
        if self.status is not None and self._quiet_left == 0:
            end.status = self.status
            end.machine.handle(channel.Gone())
        elif self._bye_heard and not self._failing and isinstance(end, SenderEnd):
            end.machine.handle(channel.ReaderClosed())

    def compare(self, end: ReceiverEnd) -> None:
        """Both ends are known: check that they have the same type."""
        if end.disagree(end.their_contract, end.their_site) and end.number is not None:
            self.connection.post(process_process.Mismatch(end.number, end.contract.text, end.site))

    def forget(self, end: SenderEnd | ReceiverEnd) -> None:
        """Forget an end that is closed for good."""
        self.ends.forget(end)

    def carry_out(self, end: SenderEnd, event: channel.OutgoingEvent, fate: Fate = True) -> None:
        """Give an event to a sending end's machine, and carry out the actions; `fate` belongs to an
        abort."""
        for action in end.machine.handle(event):
            if isinstance(action, channel.TransmitAbort):
                self._host.aborts.hold(fate, partial(self._post_abort, end, action.cause))
                continue
            self._introduce(end)
            if isinstance(action, channel.TransmitFin):
                self.connection.post(process_process.Fin(end.number))
            else:
                self.connection.post(process_process.AskCredit(end.number))
        end.changed.notify_all()

    def _post_abort(self, end: SenderEnd, cause: str) -> None:
        self._introduce(end)
        self.connection.post(process_process.SenderAborted(end.number, cause))

    def _introduce(self, end: SenderEnd) -> None:
        """Announce a new sender to the peer, before its first frame."""
        if not end.opened:
            end.opened = True
            window = end.requested_bytes, end.machine.window_messages
            self.connection.post(
                process_process.Open(end.number, end.name, end.contract.text, end.site, *window)
            )

    def transmit(self, end: SenderEnd, message: Message) -> None:
        """Send a message that the channel has room for."""
        self._introduce(end)
        if isinstance(message, bytes):
            self.connection.post_small(end.number, message)
            return
        places: list[int] = []
        behind = []
        for buffer, place in zip(message.buffers, message.places):
            places += (0, 0, 0) if place is None else place.sent()
            if place is None:
                behind.append(buffer)
        frame = process_process.Data(end.number, message.sizes, places, message.body)
        if not behind:
            self.connection.post(frame)
            return
        message.in_transit = True

        def done() -> None:
            message.in_transit = False
            end.changed.notify_all()

        self.connection.post(frame, behind, done)

    # -- the end -----------------------------------------------------------------------------

    def close_ends(self) -> None:
        """The process is about to end: close all open ends."""
        for end in list(self.ends.senders.values()):
            if end.machine.state == "open":
                self.carry_out(end, channel.Close())
        for receiver in list(self.ends.receivers.values()):
            self.close_receiver(receiver)

    def give_credit(self, end: ReceiverEnd) -> None:
        """Tell the sender what was read."""
        self._reply(end, end.machine.give_credit())

    def _reply(self, end: ReceiverEnd, actions: list[channel.IncomingAction], fate: Fate = True) -> None:
        for action in actions:
            if end.number is None:
                continue  # no sender is known that could be told
            if isinstance(action, channel.GiveCredit):
                credit = process_process.Credit(end.number, action.nbytes, action.messages)
                self.connection.post(credit, wake=action.asked)
            elif isinstance(action, channel.TellAborted):
                frame = process_process.ReceiverAborted(end.number, action.cause)
                self._host.aborts.hold(fate, partial(self.connection.post, frame))
            else:
                self.connection.post(process_process.ReceiverClosed(end.number))

    def close_sender(self, end: SenderEnd) -> None:
        """Close a sending end."""
        if end.machine.state != "closed":
            self.carry_out(end, channel.Close())
            self.forget(end)

    def close_receiver(self, end: ReceiverEnd) -> None:
        """Close a receiving end."""
        self._end_receiver(end, channel.Close())

    def abort_sender(self, end: SenderEnd, cause: str, fate: Fate) -> None:
        """Abort a sending end, because an exception made its owner abandon it."""
        if end.machine.state != "closed":
            self.carry_out(end, channel.Abort(cause), fate)
            self.forget(end)

    def abort_receiver(self, end: ReceiverEnd, cause: str, fate: Fate) -> None:
        """Abort a receiving end, because an exception made its owner abandon it."""
        self._end_receiver(end, channel.Abort(cause), fate)

    def _end_receiver(self, end: ReceiverEnd, event: channel.IncomingEvent, fate: Fate = True) -> None:
        self._reply(end, end.machine.handle(event), fate)
        end.changed.notify_all()
        self.forget(end)

    def say_bye(self) -> None:
        """Say Bye once nothing else waits to be sent."""
        if self.connection.chosen and self.status is None and self.connection.idle:
            self._last_word()

    def _last_word(self) -> None:
        if not self._bye_said:
            self._bye_said = True
            self.connection.post_last(process_process.Bye(self._host.failed))

    @property
    def over(self) -> bool:
        """True if the process has ended and everything that it sent was read: it may be forgotten."""
        return self.status is not None and self._quiet_left == 0 and not self.ends.unread

    @property
    def parted(self) -> bool:
        """True if this process may end as far as the peer is concerned: the peer has everything, or has
        ended.

        Data in shared memory counts as delivered, even if it is unread. A connection by MPI must first be
        quiet on both sides, and freed. After the root's farewell, a connection that has dropped is not made
        again; it was made too late to carry anything but this process's Bye.
        """
        if self.status is not None or self.connection.freed:
            return True
        if self.connection.socket.down:
            return self._host.farewell
        return self.connection.transport is None and self.connection.idle
