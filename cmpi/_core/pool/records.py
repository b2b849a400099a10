"""What the pool's machine keeps of each task and of each worker."""

from __future__ import annotations

from collections import deque


class Task:
    """A task that is not over.

    Attributes:
        kind: Its function, as a number.
        nbytes: What travels with it.
        retries: How many deaths it may survive.
        timeout_s: How long it may run.
        worker: The number of the worker that holds it; None while the task waits.
        running_since_s: When it became the first of its worker's tasks.
        deaths: How many workers ended while they ran it.
        doomed: It is to end as soon as it runs.
        late: It ran longer than `timeout_s`.
    """

    __slots__ = (
        "deaths",
        "doomed",
        "kind",
        "late",
        "nbytes",
        "retries",
        "running_since_s",
        "timeout_s",
        "worker",
    )

    def __init__(self, kind: int, nbytes: int, retries: int, timeout_s: float | None) -> None:
        self.kind, self.nbytes, self.retries, self.timeout_s = kind, nbytes, retries, timeout_s
        self.worker: int | None = None
        self.running_since_s: float | None = None
        self.deaths = 0
        self.doomed = self.late = False

    @property
    def over_s(self) -> float:
        """When it runs out of time."""
        if self.timeout_s is None or self.running_since_s is None or self.late:
            return float("inf")
        return self.running_since_s + self.timeout_s


class Worker:
    """A worker that has not ended.

    Attributes:
        tasks: What it was sent and has not answered, in order: it runs the first.
        nbytes: What travelled with them.
        ran: How many it has answered.
        passed: How many it has answered or left out: the number of the first of `tasks` is the next.
        recallable: It may be asked to leave out tasks that it has not begun.
        recalled: The number of the last task that it was asked to leave out.
        up: It has said that it is ready.
        retiring: It gets no more tasks.
        dying: It is being killed.
        idle_since_s: When it last had nothing to do.
    """

    __slots__ = (
        "dying",
        "idle_since_s",
        "nbytes",
        "passed",
        "ran",
        "recallable",
        "recalled",
        "retiring",
        "tasks",
        "up",
    )

    def __init__(self) -> None:
        self.tasks: deque[int] = deque()
        self.nbytes = self.ran = self.passed = self.recalled = 0
        self.up = self.retiring = self.dying = self.recallable = False
        self.idle_since_s = 0.0

    @property
    def leaving_out(self) -> bool:
        """True while it has to leave out tasks that it was sent."""
        return self.passed < self.recalled
