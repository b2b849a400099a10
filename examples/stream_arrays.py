"""A camera-like pipeline: a source, two filters and a sink, with frames per second shown live.

    cmpirun python stream_arrays.py 100

Each frame is an array of 480 x 640 x 3 bytes. The filters work in the memory that they received, and
the source fills memory that it borrows from its channel, so that on one host no frame is copied twice.
"""

import sys
import time
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

import cmpi
from cmpi import Pid, Receiver, Sender, Shape

Frame = Annotated[NDArray[np.uint8], Shape(480, 640, 3)]


def source(parent: Pid, n: int) -> None:
    after: Pid = Receiver[Pid](parent).recv()
    with Sender[Frame](after) as frames:
        for i in range(n):
            frame = frames.loan((480, 640, 3), np.uint8)
            frame[:] = i % 256
            frames.send(frame)


def invert(parent: Pid, before: Pid) -> None:
    after: Pid = Receiver[Pid](parent).recv()
    with Sender[Frame](after) as frames:
        for frame in Receiver[Frame](before):
            np.subtract(255, frame, out=frame)
            frames.send(frame)


def darken(parent: Pid, before: Pid) -> None:
    after: Pid = Receiver[Pid](parent).recv()
    with Sender[Frame](after) as frames:
        for frame in Receiver[Frame](before):
            np.right_shift(frame, 1, out=frame)
            frames.send(frame)


def sink(parent: Pid, before: Pid) -> None:
    count, right = 0, 0
    began = shown = time.monotonic()
    for frame in Receiver[Frame](before):
        right += bool((frame == (255 - count % 256) // 2).all())
        count += 1
        now = time.monotonic()
        if now - shown > 0.5:
            print(f"{count / (now - began):.0f} frames/s", flush=True)
            shown = now
    Sender[tuple[int, int]](parent).send((count, right))


if __name__ == "__main__":
    cmpi.init()
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    stages = [cmpi.spawn(source, n)]
    for stage in (invert, darken, sink):
        stages.append(cmpi.spawn(stage, stages[-1]))
    for stage, after in zip(stages, stages[1:-1] + stages[-1:]):
        Sender[Pid](stage).send(after)
    count, right = Receiver[tuple[int, int]](stages[-1]).recv()
    print(f"{count} frames came through, {right} of them right")
