"""A token goes round a ring of spawned processes.

    cmpirun python ring.py 5

The first process spawns n others and tells each its neighbour; every one adds 1 to the token.
"""

import sys

import cmpi
from cmpi import Pid, Receiver, Sender


def member(parent: Pid) -> None:
    before, after = Receiver[tuple[Pid, Pid]](parent, name="neighbours").recv()
    token = Receiver[int](before).recv()
    print(f"token {token}")
    Sender[int](after).send(token + 1)


def ring(n: int) -> int:
    members = [cmpi.spawn(member) for _ in range(n)]
    stations = [cmpi.pid(), *members, cmpi.pid()]
    for before, pid, after in zip(stations, members, stations[2:]):
        Sender[tuple[Pid, Pid]](pid, name="neighbours").send((before, after))
    Sender[int](members[0]).send(0)
    return Receiver[int](members[-1]).recv()


if __name__ == "__main__":
    cmpi.init()
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"the token came back as {ring(n)}")
