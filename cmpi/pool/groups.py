"""The groups of workers of one pool."""

from __future__ import annotations

from cmpi.identifiers import Resources
from cmpi.pool.group import WorkerGroup


class Groups(dict[tuple[Resources | None, int], WorkerGroup]):
    """The pool's groups of workers, as its receiving thread sees them: it keeps no pool alive."""

    def deadline_s(self) -> float | None:
        """When `tick` has something to do, if ever."""
        times = [group.machine.deadline_s() for group in list(self.values())]
        return min((each for each in times if each is not None), default=None)

    def tick(self) -> None:
        """Do what is due."""
        for group in list(self.values()):
            group.tick()
