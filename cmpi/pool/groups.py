"""The groups of workers of one pool."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cmpi.pool.answers import Answers
from cmpi.pool.functions import Functions
from cmpi.pool.group import WorkerGroup
from cmpi.pool.options import Options, PoolStatistics

if TYPE_CHECKING:
    from cmpi.identifiers import Resources
    from cmpi.pool.shared import SharedBuffers


class WorkerGroups:
    """A pool's groups of workers: one for each combination of resources and ranks among its tasks.

    The pool's receiving thread refers to this object, not to the pool, so it does not keep the pool alive.
    Thread-safe.

    Args:
        name: The pool's name.
        sizes: The least and the largest number of workers of the main group.
        resources: What each worker needs, unless a task's options differ.
        setup: The initializer and its arguments.
        max_tasks: After this many tasks a worker is replaced.
        functions: The pool's functions.
        buffers: The pool's hoisted buffers.
    """

    def __init__(
        self,
        name: str,
        sizes: tuple[int, int],
        resources: Resources | None,
        setup: tuple[Callable[..., object] | None, tuple[Any, ...]],
        max_tasks: int | None,
        functions: Functions,
        buffers: SharedBuffers,
    ) -> None:
        self.sizes = sizes
        self._name, self._resources, self._setup, self._max_tasks = name, resources, setup, max_tasks
        self._functions, self._buffers = functions, buffers
        self._lock = threading.Lock()
        self._groups: dict[tuple[Resources | None, int], WorkerGroup] = {}
        self.answers = Answers(self._deadline_s, self._tick)
        self.main = self.of(Options())

    def of(self, options: Options) -> WorkerGroup:
        """The group for tasks with these options. Blocks: never."""
        key = (options.resources, options.ranks)
        with self._lock:
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = WorkerGroup(
                    (0, self.sizes[1]) if self._groups else self.sizes,
                    options.resources or self._resources,
                    options.ranks,
                    self._setup,
                    self._max_tasks,
                    f"{self._name}-{len(self._groups)}",
                    self._functions,
                    self._buffers,
                    self.answers,
                )
            return group

    def all(self) -> list[WorkerGroup]:
        """The existing groups."""
        with self._lock:
            return list(self._groups.values())

    def resize(self, minimum: int, maximum: int) -> None:
        """Change the number of workers in the main group. Blocks: never."""
        self.sizes = (minimum, maximum)
        self.main.resize(minimum, maximum)

    def statistics(self) -> PoolStatistics:
        """Return counts of the past and present work of all groups. Blocks: never."""
        machines = [group.machine for group in self.all()]
        workers = [each for machine in machines for each in list(machine.workers.values())]
        running = sum(len(each.tasks) for each in workers)
        return PoolStatistics(
            sum(not each.retiring for each in workers),
            sum(len(machine.tasks) for machine in machines) - running,
            running,
            sum(machine.completed for machine in machines),
            sum(machine.deaths for machine in machines),
            self.main.machine.average_s,
        )

    def _deadline_s(self) -> float | None:
        times = [group.machine.deadline_s() for group in self.all()]
        return min((each for each in times if each is not None), default=None)

    def _tick(self) -> None:
        for group in self.all():
            group.tick()
