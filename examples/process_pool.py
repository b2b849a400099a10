"""A pool of processes that take closures to run, as in Constellation's example.

    cmpirun python process_pool.py 3

Each worker runs the closures that it is sent and sends their results back, until its channel is
closed. The pool hands the next closure to the worker that has waited longest.
"""

import sys
from collections.abc import Callable

import cmpi
from cmpi import Pid, Receiver, Sender


class ProcessPool:
    """n worker processes; `map` spreads work over them and keeps the order of the results."""

    def __init__(self, n: int) -> None:
        def work(parent: Pid) -> None:
            results = Sender[object](parent)
            for task in Receiver[Callable[[], object]](parent):
                results.send(task())

        workers = [cmpi.spawn(work) for _ in range(n)]
        self._lanes = [(Sender[Callable[[], object]](pid), Receiver[object](pid)) for pid in workers]

    def map(self, function: Callable[[int], object], values: range) -> list[object]:
        results: list[object] = []
        n = len(self._lanes)
        for i, value in enumerate(values):
            tasks, done = self._lanes[i % n]
            if i >= n:
                results.append(done.recv())
            tasks.send(lambda value=value: function(value))
        last = range(max(0, len(values) - n), len(values))
        return results + [self._lanes[i % n][1].recv() for i in last]

    def close(self) -> None:
        for tasks, _ in self._lanes:
            tasks.close()


if __name__ == "__main__":
    cmpi.init()
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    pool = ProcessPool(n)
    print("squares:", pool.map(lambda x: x * x, range(10)))
    pool.close()
