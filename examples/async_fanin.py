"""Many sensors into one event loop: asyncio over channels, with a timeout and a cancelled task.

    cmpirun python async_fanin.py 4

Each sensor sends five readings. One task per sensor collects them; a last task waits for a sensor that
sends nothing, and is cancelled.
"""

import asyncio
import sys

import cmpi
from cmpi import Pid, Receiver, Sender


def sensor(parent: Pid, number: int) -> None:
    with Sender[tuple[int, int]](parent) as readings:
        for i in range(5):
            readings.send((number, i * i))


def silent(parent: Pid) -> None:
    Receiver[None](parent).recv()


async def collect(pid: Pid) -> int:
    total = 0
    async for _, value in Receiver[tuple[int, int]](pid):
        total += value
    return total


async def main(n: int) -> None:
    sensors = [await cmpi.aspawn(sensor, i) for i in range(n)]
    quiet = await cmpi.aspawn(silent)
    totals = await asyncio.gather(*(collect(pid) for pid in sensors))
    print(f"{n} sensors, totals {totals}")
    try:
        await asyncio.wait_for(Receiver[int](quiet).arecv(), timeout=0.2)
    except asyncio.TimeoutError:
        print("one sensor says nothing")
    await Sender[None](quiet).asend(None)
    await cmpi.await_exit(quiet)


if __name__ == "__main__":
    cmpi.init()
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 4))
