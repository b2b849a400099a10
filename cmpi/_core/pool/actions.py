"""Actions of the pool's state machine, for its caller. Tasks and workers are numbers."""

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
    """Take back tasks that the worker has not begun; call `recalled` with the outcome.

    Attributes:
        worker: The worker that has them.
        first: The number of the first one, counted from 1 among all tasks sent to this worker.
        count: How many.
    """

    worker: int
    first: int
    count: int


@frozen
class FailTask:
    """The task has ended without a result.

    Attributes:
        task: Its number.
        deaths: How many workers ended while they ran it.
        killed: Whether it was ended on purpose.
        late: Whether it exceeded its timeout.
    """

    task: int
    deaths: int
    killed: bool = False
    late: bool = False


@frozen
class Break:
    """The pool is broken, because no worker could be started; every task has failed."""


if TYPE_CHECKING:
    Action: TypeAlias = "Send | StartWorker | RetireWorker | KillWorker | Recall | FailTask | Break"
