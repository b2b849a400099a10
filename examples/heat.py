"""Heat in a plate: a 2-D stencil divided into strips, whose edges are exchanged through channels.

    cmpirun python heat.py 3

Each of n processes holds a strip of rows and sends its edge rows to its neighbours at every step; the
result is compared with the same computation in one piece.
"""

import itertools
import sys

import numpy as np
from numpy.typing import NDArray

import cmpi
from cmpi import Pid, Receiver, Sender

Rows = NDArray[np.float64]
ROWS, COLUMNS, STEPS = 120, 100, 200


def plate() -> Rows:
    """A cold plate with one hot edge."""
    cells = np.zeros((ROWS, COLUMNS))
    cells[0] = 100.0
    return cells


def step(cells: Rows) -> Rows:
    """Move the inner cells towards the mean of their four neighbours; the edges stay unchanged."""
    new = cells.copy()
    around = cells[:-2, 1:-1] + cells[2:, 1:-1] + cells[1:-1, :-2] + cells[1:-1, 2:]
    new[1:-1, 1:-1] = around / 4
    return new


def strip(parent: Pid, first: int, last: int) -> None:
    """Compute the rows from first to last, with one row of each neighbour above and below."""
    above, below = Receiver[tuple[Pid | None, Pid | None]](parent, name="neighbours").recv()
    cells = plate()[max(first - 1, 0) : last + 1]
    ends = [
        (Sender[Rows](pid), Receiver[Rows](pid), mine, halo)
        for pid, mine, halo in ((above, 1, 0), (below, -2, -1))
        if pid is not None
    ]
    for _ in range(STEPS):
        for sender, _, mine, _ in ends:
            sender.send(cells[mine])
        for _, receiver, _, halo in ends:
            receiver.recv(out=cells[halo])
        cells = step(cells)
    own = cells[(above is not None) : len(cells) - (below is not None)]
    Sender[Rows](parent).send(own)


if __name__ == "__main__":
    cmpi.init()
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    cuts = [ROWS * i // n for i in range(n + 1)]
    pids = [cmpi.spawn(strip, first, last) for first, last in itertools.pairwise(cuts)]
    for above, pid, below in zip([None, *pids], pids, [*pids[1:], None]):
        Sender[tuple[Pid | None, Pid | None]](pid, name="neighbours").send((above, below))
    parallel = np.vstack([Receiver[Rows](pid).recv() for pid in pids])
    serial = plate()
    for _ in range(STEPS):
        serial = step(serial)
    print(f"{n} strips, {STEPS} steps: as in one piece: {np.array_equal(parallel, serial)}")
