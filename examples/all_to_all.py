"""Every spawned process sends a message to every other one.

    cmpirun python all_to_all.py 6

Connections between the processes are made as they are needed, in parallel.
"""

import sys

import cmpi
from cmpi import Pid, Receiver, Sender


def member(parent: Pid) -> None:
    everybody = Receiver[list[Pid]](parent).recv()
    others = [pid for pid in everybody if pid != cmpi.pid()]
    for pid in others:
        Sender[str](pid).send(f"from {everybody.index(cmpi.pid())}")
    heard = sorted(Receiver[str](pid).recv() for pid in others)
    Sender[int](parent).send(len(set(heard)))


def all_to_all(n: int) -> int:
    members = [cmpi.spawn(member) for _ in range(n)]
    for pid in members:
        Sender[list[Pid]](pid).send(members)
    return sum(Receiver[int](pid).recv() for pid in members)


if __name__ == "__main__":
    cmpi.init()
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    print(f"{all_to_all(n)} messages among {n} processes")
