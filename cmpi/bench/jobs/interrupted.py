"""The job behind `interrupts`: signal handlers raise inside one kind of call, again and again.

    cmpirun python -m cmpi.bench.jobs.interrupted KIND,... COUNT

Every interrupted call is either done or not done, and the program can tell which: nothing is lost,
duplicated or stuck, and nothing that was started is left over.
"""

from __future__ import annotations

import faulthandler
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

import cmpi
from cmpi import Mailbox, Pid, Receiver, Resources, Sender, select

SHORTEST_S, LONGEST_S = 1e-5, 4e-4  # between interrupts, for calls that take microseconds
AGAIN_S = 5e-4, 2e-3, 0.1  # until the next interrupt, which may come while the first is being handled
SLOWER = 20  # times as long, for calls that take milliseconds
STALL_S = 60.0  # without an interrupt, the job counts as hanging
SMALL = Resources(cpus=0.01, memory="60 MiB")
LARGE = 20_000  # elements of an array that is not copied
MISSING: Any = object()


class Tick(Exception):
    """The exception that the signal handler raises."""


_left = [0]  # how often the handler may still raise before the timer is set again


def _tick(*_: object) -> None:
    if _left[0]:
        _left[0] -= 1
        raise Tick


def interrupt(step: Callable[[], object], count: int, slower: int) -> None:
    """Call `step` again and again, until this many of the calls were interrupted."""
    ticks: list[int] = []
    shortest_s, longest_s = SHORTEST_S * slower, LONGEST_S * slower

    def until_enough() -> None:
        while len(ticks) < count:
            if len(ticks) % 64 == 0:
                faulthandler.dump_traceback_later(STALL_S, exit=True)
            try:
                first_s, again_s = random.uniform(shortest_s, longest_s), random.choice(AGAIN_S)
                _left[0] = 2
                signal.setitimer(signal.ITIMER_REAL, first_s, again_s)
                while True:
                    step()
            except Tick:
                ticks.append(0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)

    signal.signal(signal.SIGALRM, _tick)
    while len(ticks) < count:
        try:
            until_enough()
        except Tick:  # while counting, or while stopping the timer
            pass
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    faulthandler.dump_traceback_later(STALL_S, exit=True)


class Kind:
    """One kind of call, which is interrupted in `step`."""

    slower: ClassVar[int] = 1

    def step(self) -> object:
        """Make the call."""
        raise NotImplementedError

    def check(self) -> str:
        """Describe what is wrong; "" if nothing is."""
        raise NotImplementedError


def _counts(parent: Pid) -> None:
    Sender[int](parent).send(sum(1 for _ in Receiver[Any](parent)))


class Sends(Kind):
    """Sends: the receiver must get what the sender counts as sent."""

    def __init__(self, how: str) -> None:
        self._how = how
        self._pid = cmpi.spawn(_counts)
        self._sender = Sender[Any](self._pid)
        self._value: Any = np.zeros(LARGE) if how == "array" else (1, "x")

    def step(self) -> None:
        if self._how == "select":
            select(self._sender.sending(self._value))
        elif self._how == "try":
            self._sender.try_send(self._value)
        else:
            self._sender.send(self._value)

    def check(self) -> str:
        sent = self._sender.statistics().messages
        self._sender.close()
        got = Receiver[int](self._pid).recv()
        return "" if got == sent else f"{sent} messages were sent, {got} came"


def _numbers(send: Callable[[Any], object], stop: Receiver[Any], array: bool = False) -> int:
    i, value = 0, np.zeros(LARGE)
    while stop.try_recv() is None:
        value[0] = i
        send(value if array else i)
        i += 1
    return i


def _writes(parent: Pid, array: bool) -> None:
    with Sender[Any](parent) as sender:
        _numbers(sender.send, Receiver[Any](parent), array)


class Receives(Kind):
    """Receives: the received messages must be all numbers in order, before and after interrupts."""

    def __init__(self, how: str) -> None:
        self._how, self._got = how, list[Any]()
        self._pid = cmpi.spawn(_writes, how == "array")
        if how == "any":
            self._many = Receiver[Any].any([self._pid])
        else:
            self._receiver = Receiver[Any](self._pid)

    def step(self) -> None:
        # Nothing may come between the call and the list: a handler's exception there would lose the value.
        if self._how == "select":
            self._got.append(select(self._receiver)[1])
        elif self._how == "array":
            self._got.append(self._receiver.recv()[0])
        elif self._how == "any":
            self._got.append(self._many.recv()[1])
        elif self._how == "try":
            value = self._receiver.try_recv(MISSING)
            if value is not MISSING:
                self._got.append(value)
        else:
            self._got.append(self._receiver.recv())

    def check(self) -> str:
        Sender[Any](self._pid).send("stop")
        if self._how == "any":
            self._got += [value for _, value in self._many]
        else:
            rest = list(self._receiver)
            self._got += [value[0] for value in rest] if self._how == "array" else rest
        return _in_order(self._got)


def _in_order(got: list[Any]) -> str:
    for i, value in enumerate(got):
        if value != i:
            return f"{value} came in place of {i}"
    return ""


def _mails(parent: Pid) -> None:
    with Sender[Any].to(parent) as sender:
        n = _numbers(sender.send, Receiver[Any](parent))
        sender.flush()
    Sender[int](parent, name="sent").send(n)


class Mails(Kind):
    """As `Receives`, for a mailbox."""

    def __init__(self, how: str) -> None:
        self._how, self._got, self._mailbox = how, list[Any](), Mailbox[Any]()
        self._pid = cmpi.spawn(_mails)

    def step(self) -> None:
        if self._how == "select":
            self._got.append(select(self._mailbox)[1])
        elif self._how == "try":
            value = self._mailbox.try_recv(MISSING)
            if value is not MISSING:
                self._got.append(value)
        else:
            self._got.append(self._mailbox.recv())

    def check(self) -> str:
        Sender[Any](self._pid).send("stop")
        sent = Receiver[int](self._pid, name="sent")
        while True:
            receiver, value = select(self._mailbox, sent)
            if receiver is sent:
                break
            self._got.append(value)
        self._mailbox.close()
        return _in_order(self._got) or ("" if len(self._got) == value else f"{len(self._got)} of {value}")


def _serves(parent: Pid) -> None:
    mailbox, n = Mailbox[Any]("server"), 0
    for message in mailbox:
        if isinstance(message, cmpi.Call):
            message.reply(n if message.request is None else message.request)
        else:
            n += 1


class SendsMail(Kind):
    """As `Sends`, to a mailbox that is found by name."""

    def __init__(self, _: str) -> None:
        self._pid = cmpi.spawn(_serves)
        self._sender = Sender[Any].to("server")
        self._sender.send(0)

    def step(self) -> None:
        self._sender.send(0)

    def check(self) -> str:
        assert self._sender._sender is not None
        sent = self._sender._sender.statistics().messages
        self._sender.flush()
        got = cmpi.call("server", None)
        cmpi.kill(self._pid)
        return "" if got == sent else f"{sent} messages were sent, {got} came"


class Calls(Kind):
    """Calls: every answer must belong to its request, whatever became of earlier requests."""

    def __init__(self, _: str) -> None:
        self._pid, self._fault, self._n = cmpi.spawn(_serves), "", 0

    def step(self) -> None:
        self._n += 1
        n = self._n
        answer = cmpi.call("server", n, timeout=None)
        if answer != n:
            self._fault = f"{answer} is the answer to {n}"

    def check(self) -> str:
        for _ in range(100):
            self.step()
        cmpi.kill(self._pid)
        return self._fault


def _ends(parent: Pid, value: Any) -> Any:
    return value


def _waits(parent: Pid) -> None:
    Receiver[Any](parent).recv()


class Spawns(Kind):
    """Spawns: no process of an interrupted call may remain, so that there is as much room at the end as
    before."""

    slower = SLOWER

    def __init__(self, how: str) -> None:
        self._how, self._n, self._fault = how, 0, ""
        self._pids: list[Pid] = []
        self._free = self._all_free()

    def _all_free(self) -> float:
        return cmpi.capacity().free.cpus

    def step(self) -> None:
        if self._how == "spawn":
            self._pids.append(cmpi.spawn(_waits, resources=SMALL))
            cmpi.kill(self._pids[-1])
            cmpi.wait(self._pids[-1])
            return
        self._n += 1
        if not self._pids:
            self._pids.append(cmpi.spawn(_ends, self._n, resources=SMALL, result=True))
        value = cmpi.result(self._pids[-1])
        if not isinstance(value, int):
            self._fault = f"a result is {value!r}"
        self._pids.clear()

    def check(self) -> str:
        for pid in self._pids:
            cmpi.kill(pid)
            cmpi.wait(pid)
        end_s = time.monotonic() + STALL_S
        while self._all_free() != self._free and time.monotonic() < end_s:
            time.sleep(0.01)
        left = (
            "" if self._all_free() == self._free else f"{self._free} CPUs were free, now {self._all_free()}"
        )
        return self._fault or left


class Names(Kind):
    """Names: a name must belong to the process that it was given to last."""

    def __init__(self, _: str) -> None:
        self._fault = ""

    def step(self) -> None:
        cmpi.register("here")
        if cmpi.whereis("here", timeout=None) != cmpi.pid():
            self._fault = "a registered name was not found"

    def check(self) -> str:
        cmpi.unregister("here")
        found = cmpi.whereis("here")
        return self._fault or ("" if found is None else "an unregistered name was found")


class Pools(Kind):
    """Pools: every future must get its own result, and no place in the queue may be lost."""

    def __init__(self, how: str) -> None:
        self._how, self._fault = how, ""
        self._pool = cmpi.ProcessPool(2, resources=SMALL, max_pending=8)
        self._futures: dict[int, Any] = {}
        self._n = 0

    def step(self) -> None:
        if self._how == "map":
            got = list(self._pool.map(abs, range(20), chunksize=4))
            if got != list(range(20)):
                self._fault = f"map returned {got}"
            return
        self._n += 1
        n = self._n
        self._futures[n] = self._pool.submit(abs, n)
        for number in list(self._futures)[:-4]:
            self._settle(number)

    def _settle(self, number: int) -> None:
        found = self._futures[number].result()
        if found != number:
            self._fault = f"the result of {number} is {found}"
        self._futures.pop(number, None)

    def check(self) -> str:
        for number in list(self._futures):
            self._settle(number)
        last = [self._pool.submit(abs, i) for i in range(40)]  # more than may wait at the same time
        if [future.result() for future in last] != list(range(40)):
            self._fault = "a result at the end is wrong"
        self._pool.shutdown()
        return self._fault


class Broadcasts(Kind):
    """Broadcasts: each receiver must get what was counted as sent to it."""

    def __init__(self, _: str) -> None:
        self._pids = [cmpi.spawn(_counts) for _ in range(2)]
        self._broadcast = Sender[Any].broadcast(self._pids)

    def step(self) -> None:
        self._broadcast.send((1, "x"))

    def check(self) -> str:
        sent = [sender.statistics().messages for sender in self._broadcast.senders]
        self._broadcast.close()
        got = [Receiver[int](pid).recv() for pid in self._pids]
        return "" if got == sent else f"{sent} messages were sent, {got} came"


KINDS: dict[str, tuple[type[Any], str]] = {
    "send": (Sends, "send"),
    "try_send": (Sends, "try"),
    "send-array": (Sends, "array"),
    "select-send": (Sends, "select"),
    "broadcast": (Broadcasts, ""),
    "recv": (Receives, "recv"),
    "try_recv": (Receives, "try"),
    "recv-array": (Receives, "array"),
    "select-recv": (Receives, "select"),
    "recv-any": (Receives, "any"),
    "mailbox": (Mails, "recv"),
    "mailbox-try": (Mails, "try"),
    "mailbox-select": (Mails, "select"),
    "mailbox-send": (SendsMail, ""),
    "call": (Calls, ""),
    "names": (Names, ""),
    "spawn": (Spawns, "spawn"),
    "result": (Spawns, "result"),
    "pool-submit": (Pools, "submit"),
    "pool-map": (Pools, "map"),
}


def main(names: str, count: int) -> int:
    """Interrupt calls of these kinds, one kind after the other; returns the exit code."""
    return max([_main(name, count) for name in names.split(",")])


def _main(name: str, count: int) -> int:
    make, how = KINDS[name]
    kind: Kind = make(how)
    kind.step()
    started_s = time.monotonic()
    interrupt(kind.step, count, kind.slower)
    took_s = time.monotonic() - started_s
    fault = kind.check()
    faulthandler.cancel_dump_traceback_later()
    print(
        f"{name}: {count} interrupts in {took_s:.1f} s: {fault or 'everything accounted for'}", flush=True
    )
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
