"""The pool machine's records of tasks and workers."""

from __future__ import annotations

from collections import deque


class Task:
    """An unfinished task.

    Attributes:
        kind: The number of its function.
        nbytes: How many bytes are sent with it.
        retries: How many deaths of workers it may survive.
        timeout_s: How long it may run.
        worker: The number of the worker that holds it; None while the task waits.
        running_since_s: When it became the first of its worker's tasks.
        deaths: How many workers ended while they ran it.
        doomed: Whether it must be ended as soon as it runs.
        late: Whether it ran longer than `timeout_s`.
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
        """When it reaches its timeout."""
        if self.timeout_s is None or self.running_since_s is None or self.late:
            return float("inf")
        return self.running_since_s + self.timeout_s


class Worker:
    """A live worker.

    Attributes:
        tasks: The tasks that it was sent and has not answered, in order; it runs the first.
        nbytes: How many bytes were sent with them.
        ran: How many tasks it has answered.
        passed: How many it has answered or skipped; the first of `tasks` has the next number.
        recallable: Whether it can be asked to skip tasks that it has not begun.
        recalled: The number of the last task that it was asked to skip.
        up: Whether it has said that it is ready.
        retiring: Whether it gets no more tasks.
        dying: Whether it is being killed.
        idle_since_s: When it became idle.
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
        """True while there are tasks that it must skip."""
        return self.passed < self.recalled
