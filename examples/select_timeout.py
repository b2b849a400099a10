"""`select`: the first of several receives and sends that can be done, or none in time.

    cmpirun python select_timeout.py 3

A dispatcher hands n jobs to whichever of two workers is free, and takes results as they come.
"""

import sys
import time

import cmpi
from cmpi import Pid, Receiver, Sender


def worker(parent: Pid, pause_s: float) -> None:
    with Sender[int](parent) as results:
        for job in Receiver[int](parent):
            time.sleep(pause_s)
            results.send(job * 10)


if __name__ == "__main__":
    cmpi.init()
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    pids = [cmpi.spawn(worker, pause_s) for pause_s in (0.05, 0.1)]
    jobs = [Sender[int](pid, capacity=1) for pid in pids]  # one job each, until it is taken
    results = [Receiver[int](pid) for pid in pids]
    todo, done = list(range(1, n + 1)), []
    while len(done) < n:
        offers = [sender.sending(todo[0]) for sender in jobs] if todo else []
        operation, value = cmpi.select(*results, *offers, timeout=10)
        if operation in results:
            done.append(value)
        else:
            todo.pop(0)
    print(f"{n} jobs done: {sorted(done)}")
    try:
        cmpi.select(*results, timeout=0.1)
    except TimeoutError:
        print("nothing more in 0.1 s")
    for sender in jobs:
        sender.close()
