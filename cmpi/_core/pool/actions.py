"""What the pool's machine tells its caller to do. Tasks and workers are numbers."""

from __future__ import annotations

from cmpi._base.frozen import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias


@frozen
class Send:
    """Send these tasks to that worker, in one message."""

    worker: int
    tasks: tuple[int, ...]


@frozen
class StartWorker:
    """Start a worker."""

    worker: int


@frozen
class RetireWorker:
    """Send the worker no more tasks; it ends when it has answered those it has."""

    worker: int


@frozen
class KillWorker:
    """End the worker at once."""

    worker: int


@frozen
class Recall:
    """Take back tasks that the worker has not begun; `recalled` is to be called with the outcome.

    Attributes:
        worker: Whose they are.
        first: The number of the first, of all tasks that it was sent, counted from 1.
        count: How many.
    """

    worker: int
    first: int
    count: int


@frozen
class FailTask:
    """The task is over without a result.

    Attributes:
        task: Its number.
        deaths: How many workers ended while they ran it.
        killed: It was ended on purpose.
        late: It ran out of time.
    """

    task: int
    deaths: int
    killed: bool = False
    late: bool = False


@frozen
class Break:
    """The pool is of no use, since no worker could be started; every task has failed."""


if TYPE_CHECKING:
    Action: TypeAlias = "Send | StartWorker | RetireWorker | KillWorker | Recall | FailTask | Break"
