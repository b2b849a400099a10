"""Fork and join: split a sum over spawned processes, then add up what they send.

    cmpirun python fork_join.py 4

Each process gets its part of a numpy array by value and sends one number back.
"""

import sys

import numpy as np

import cmpi
from cmpi import Pid, Receiver, Sender


def fork_join(n: int) -> float:
    numbers = np.arange(1_000_000, dtype=np.float64)

    def add(parent: Pid, part: "np.ndarray") -> None:
        Sender[float](parent).send(float(part.sum()))

    workers = [cmpi.spawn(add, part) for part in np.array_split(numbers, n)]
    return sum(Receiver[float](worker).recv() for worker in workers)


if __name__ == "__main__":
    cmpi.init()
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    print(f"{n} processes found {fork_join(n):.0f}")
