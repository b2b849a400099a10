"""The job behind `interrupts`: signal handlers raise inside one kind of call, again and again.

    cmpirun python -m cmpi.bench.jobs.interrupted KIND,... COUNT

Every interrupted call is either done or not done, and the program can tell which: nothing is lost,
duplicated or stuck, and nothing that was started is left over.
"""

from __future__ import annotations

import faulthandler
import sys
import time
from typing import Any

import cmpi
from cmpi import Pid, Receiver, Resources
from cmpi.bench.jobs.interrupted_channels import Broadcasts, Calls, Mails, Receives, Sends, SendsMail
from cmpi.bench.jobs.interrupting import STALL_S, Kind, interrupt

SLOWER = 20  # times as long, for calls that take milliseconds
SMALL = Resources(cpus=0.01, memory="60 MiB")


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
            if not self._pids:  # else the call was cut after the last spawn: that process still runs
                self._pids.append(cmpi.spawn(_waits, resources=SMALL))
            cmpi.kill(self._pids[-1])
            cmpi.wait(self._pids[-1])
            self._pids.clear()
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
