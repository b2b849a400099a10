"""Recursive Fibonacci: each call spawns two processes, as in Constellation's example.

    cmpirun python fibonacci.py 10

Each process starts two others, opens a channel from each, and sends the sum to its parent. All of
them are alive at the same time: 176 for 10.
"""

import sys

import cmpi
from cmpi import Pid, Receiver, Sender


def fibonacci(x: int) -> int:
    if x <= 1:
        return x

    def child(parent: Pid, n: int) -> None:
        Sender[int](parent).send(fibonacci(n))

    left = cmpi.spawn(child, x - 1)
    right = cmpi.spawn(child, x - 2)
    return Receiver[int](left).recv() + Receiver[int](right).recv()


if __name__ == "__main__":
    cmpi.init()
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    print(f"fibonacci({n}) = {fibonacci(n)}")
