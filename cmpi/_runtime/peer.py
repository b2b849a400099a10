"""Another process as this one sees it: the link to it, and the ends of the channels with it."""

from __future__ import annotations

import itertools
from collections import deque

from cmpi._core import channel, frames, link_frames
from cmpi._core.wire import decode, encode_bare
from cmpi._runtime.ends import ReceiverEnd, SenderEnd
from cmpi._transport import mpi
from cmpi._transport.pickling import Pickled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cmpi._ids import ExitStatus, Pid
    from cmpi._runtime.node import Node

QUIET_ROUNDS = 50  # looks at the link of one that died, before it counts as empty
_numbers = itertools.count()


class Peer:
    """The link to one process and all that goes over it. Guarded by the node's lock."""

    def __init__(self, node: Node, pid: Pid) -> None:
        self._node, self.pid = node, pid
        self.link: mpi.Link | None = None
        self.announced = 0  # frames that the peer says it has sent
        self.status: ExitStatus | None = None
        self.senders: dict[int, SenderEnd] = {}
        self.receivers: dict[int, ReceiverEnd] = {}  # whose sender is known
        self.unclaimed: dict[str, deque[ReceiverEnd]] = {}  # sender known, no Receiver yet; by name
        self.expected: dict[str, ReceiverEnd] = {}  # a Receiver, no sender known yet; by name
        self._outbox: deque[tuple[bytes, list[Any], Callable[[], None] | None]] = deque()
        self._asked = False
        self._bye_said = self._bye_heard = False
        self._quiet_left = QUIET_ROUNDS
        self._freed = False

    # -- frames out --------------------------------------------------------------------------

    def post(
        self, frame: Any, buffers: list[Any] | None = None, done: Callable[[], None] | None = None
    ) -> None:
        """Send a frame, now or as soon as the link stands. `done`: the buffers are free again."""
        if self.status is not None or self._bye_said:
            return
        self._outbox.append((encode_bare(frame), buffers or [], done))
        if self.link is not None:
            self.flush()
        elif not self._asked:
            self._asked = True
            self._node.watch(self.pid)
            self._node.tell_root(frames.Link(self.pid.value))

    def flush(self) -> None:
        """Send what waits, if it can be sent now."""
        if self.link is None or not self._outbox or self._freed or self._node.linking:
            return
        try:
            while self._outbox:
                self.link.send(*self._outbox.popleft())
        except mpi.LinkBroken:
            return  # the exit notice will come, and say why
        self._node.bell.ring(self.pid.value, self.link.sent)
        if self.link.busy:
            self._node.nudge()

    def link_up(self, link: mpi.Link) -> None:
        """The link stands."""
        self.link = link
        self._node.watch(self.pid)
        self.flush()

    # -- progress ----------------------------------------------------------------------------

    @property
    def restless(self) -> bool:
        """True if looking at the link again soon is worth it."""
        if self.link is None or self._freed:
            return False
        if self.status is not None:
            return self._quiet_left > 0
        return self.link.busy or self.link.received < self.announced

    def progress(self) -> bool:
        """Move what can be moved; True if something was."""
        moved = False
        if self.link is not None and not self._freed and (self.status is None or self._quiet_left):
            try:
                moved = self.link.progress_sends()
                message = self.link.receive(link_frames.buffer_sizes)
                while message is not None:
                    moved = True
                    self._hear(decode(message.head), message.buffers)
                    message = self.link.receive(link_frames.buffer_sizes)
            except mpi.LinkBroken:
                self.announced = 0  # nothing more can come; the exit notice will say why
            if self._bye_said and self._bye_heard and not self.link.busy and not self._outbox:
                # Before the peer is gone: Open MPI (ULFM) takes the end of its connection for a
                # failure, looks for communicators with it, and crashed in them now and then.
                # Not before both have said Bye: a frame that nobody has received stays in MPI, and
                # is found in the next link, which may get the same context id.
                self.free()
                moved = True
        if self.status is not None and self._quiet_left:
            self._quiet_left = QUIET_ROUNDS if moved else self._quiet_left - 1
            if self._quiet_left == 0:
                self._fail_ends()
                self.free()
        return moved

    def exited(self, status: ExitStatus) -> None:
        """The process has ended; what it had sent may still be on its way."""
        self.status = status
        self._outbox.clear()
        if self.link is None or self._freed:
            self._quiet_left = 0
            self._fail_ends()

    def _fail_ends(self) -> None:
        ends: list[SenderEnd | ReceiverEnd] = [*self.senders.values(), *self.receivers.values()]
        for end in [*ends, *self.expected.values()]:
            end.status = self.status
            if isinstance(end, SenderEnd):
                self.carry_out(end, channel.Gone())
            else:
                end.machine.handle(channel.Gone())
            end.changed.notify_all()

    # -- frames in ---------------------------------------------------------------------------

    def _hear(self, frame: Any, buffers: list[bytearray]) -> None:
        if isinstance(frame, link_frames.Data):
            end = self.receivers.get(frame.channel)
            if end is not None:
                nbytes = len(frame.body) + sum(frame.sizes)
                message = (frame.body, buffers, bool(frame.inline))
                end.machine.handle(channel.Arrived(message, nbytes))
                end.changed.notify_all()
        elif isinstance(frame, link_frames.Open):
            self._opened(frame)
        elif isinstance(frame, link_frames.Fin):
            end = self.receivers.get(frame.channel)
            if end is not None:
                end.machine.handle(channel.FinArrived())
                end.changed.notify_all()
        elif isinstance(frame, link_frames.Bye):
            self._bye_heard = True
            for sender in list(self.senders.values()):
                self.carry_out(sender, channel.Dropped())  # it reads nothing any more
            self._last_word()
        else:
            self._hear_reader(frame)

    def _hear_reader(self, frame: Any) -> None:
        end = self.senders.get(frame.channel)
        if end is None:
            return
        if isinstance(frame, link_frames.Credit):
            self.carry_out(end, channel.CreditCame(frame.nbytes, frame.messages))
        elif isinstance(frame, link_frames.Dropped):
            self.carry_out(end, channel.Dropped())
        elif isinstance(frame, link_frames.Mismatch):
            end.disagree(frame.contract, frame.site)
            self.carry_out(end, channel.Dropped())

    def _opened(self, frame: link_frames.Open) -> None:
        end = self.expected.pop(frame.name, None)
        if end is None:
            end = ReceiverEnd(self._node.lock, self.pid, frame.name, "Any", "")
            self.unclaimed.setdefault(frame.name, deque()).append(end)
        end.number = frame.channel
        end.machine.set_window(frame.window_bytes, frame.window_messages)
        end.their_contract, end.their_site = frame.contract, frame.site
        self.receivers[frame.channel] = end
        if end.claimed:
            self.compare(end)

    # -- ends --------------------------------------------------------------------------------

    def new_sender(self, name: str, contract: str, site: str, window: tuple[int, int]) -> SenderEnd:
        """A sending end; the peer hears of it with the first message."""
        end = SenderEnd(self._node.lock, self.pid, name, contract, site, next(_numbers), window)
        self.senders[end.number] = end
        self._mark(end)
        return end

    def new_receiver(self, name: str, contract: str, site: str) -> ReceiverEnd:
        """The receiving end for the oldest sender of that name, or for the next to come."""
        waiting = self.unclaimed.get(name)
        if waiting:
            end = waiting.popleft()
            end.contract, end.site = contract, site
        else:
            end = self.expected[name] = ReceiverEnd(self._node.lock, self.pid, name, contract, site)
        end.claimed = True
        self._mark(end)
        if end.number is not None:
            self.compare(end)
        return end

    def _mark(self, end: SenderEnd | ReceiverEnd) -> None:
        if self.status is not None and self._quiet_left == 0:
            end.status = self.status
            end.machine.handle(channel.Gone())
        elif self._bye_heard and isinstance(end, SenderEnd):
            end.machine.handle(channel.Dropped())

    def compare(self, end: ReceiverEnd) -> None:
        """Both ends are known: they must be of one type."""
        if end.disagree(end.their_contract, end.their_site) and end.number is not None:
            self.post(link_frames.Mismatch(end.number, end.contract, end.site))

    def forget(self, end: SenderEnd | ReceiverEnd) -> None:
        """An end that is closed for good."""
        if isinstance(end, SenderEnd):
            self.senders.pop(end.number, None)
        elif end.number is not None:
            self.receivers.pop(end.number, None)
        elif self.expected.get(end.name) is end:
            del self.expected[end.name]

    def carry_out(self, end: SenderEnd, event: channel.OutgoingEvent) -> None:
        """Give a sending end's machine an event, and do what it says."""
        for action in end.machine.handle(event):
            if not end.opened and not isinstance(action, channel.Fail):
                end.opened = True
                window = end.machine.window_bytes, end.machine.window_messages
                self.post(link_frames.Open(end.number, end.name, end.contract, end.site, *window))
            if isinstance(action, channel.Transmit):
                self._transmit(end, end.messages.pop(action.ticket))
            elif isinstance(action, channel.TransmitFin):
                self.post(link_frames.Fin(end.number))
            else:
                end.messages.pop(action.ticket, None)
                end.failed.add(action.ticket)
        end.changed.notify_all()

    def _transmit(self, end: SenderEnd, message: Pickled) -> None:
        frame = link_frames.Data(end.number, message.sizes, message.inline, message.body)
        if not message.buffers:
            self.post(frame)
            return
        message.in_transit = True

        def done() -> None:
            message.in_transit = False
            end.changed.notify_all()

        self.post(frame, list(message.buffers), done)

    # -- the end -----------------------------------------------------------------------------

    def close_ends(self) -> None:
        """The process is about to end: close what is open."""
        for end in list(self.senders.values()):
            if end.machine.state == "open":
                self.carry_out(end, channel.Close())
        for receiver in list(self.receivers.values()):
            self.close_receiver(receiver)

    def take(self, end: ReceiverEnd) -> Any:
        """The oldest message of a receiving end, None if there is none; the sender gets its credit."""
        message = None
        for action in end.machine.handle(channel.Take()):
            if isinstance(action, channel.Deliver):
                message = action.message
            elif isinstance(action, channel.GiveCredit) and end.number is not None:
                self.post(link_frames.Credit(end.number, action.nbytes, action.messages))
        return message

    def close_receiver(self, end: ReceiverEnd) -> None:
        """Nobody reads here any more."""
        for action in end.machine.handle(channel.Close()):
            if isinstance(action, channel.TellDropped) and end.number is not None:
                self.post(link_frames.Dropped(end.number))
        end.changed.notify_all()
        self.forget(end)

    @property
    def _unfinished(self) -> bool:
        return bool(self._outbox) or any(not end.machine.idle for end in self.senders.values())

    def say_bye(self) -> None:
        """Say that nothing follows, once nothing does."""
        if self.link is not None and self.status is None and not self._unfinished:
            self._last_word()

    def _last_word(self) -> None:
        if not self._bye_said:
            self.post(link_frames.Bye())
            self._bye_said = True

    @property
    def parted(self) -> bool:
        """True if the peer has everything and we have all of its, or it has ended."""
        if self.status is not None or self._freed:
            return True
        return self.link is None and not self._unfinished

    def free(self) -> None:
        """Let go of the link."""
        if self.link is not None and not self._freed:
            self._freed = True
            self.link.free()
