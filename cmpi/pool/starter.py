"""Starts the workers of a group."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cmpi.pool import worker
from cmpi.processes.process import spawn_while

if TYPE_CHECKING:
    from typing import Protocol

    from cmpi.identifiers import Pid, Resources

    class Starting(Protocol):
        """A group, as its `Starter` sees it."""

        def started(self, number: int, pids: list[Pid], name: str) -> None:
            """A worker has started, with these processes and channels of this name."""

        def start_failed(self, number: int, error: BaseException) -> None:
            """A worker could not be started."""

        def wanted(self, number: int) -> bool:
            """Whether to go on waiting for room for a worker; otherwise it counts as ended."""


LOOK_S = 1.0  # how often to check whether a worker that waits for room is still wanted


class Starter:
    """Starts workers, each in a thread of its own. Thread-safe.

    Args:
        group: It is told the outcome.
        resources: What each process of a worker needs.
        ranks: How many processes a worker has; with more than one they are one MPI world.
        setup: The initializer and its arguments.
        name: The group's name, used in the names of channels.
        buffers: The name of the pool's hoisted buffers.
    """

    def __init__(
        self,
        group: Starting,
        resources: Resources | None,
        ranks: int,
        setup: tuple[Callable[..., object] | None, tuple[Any, ...]],
        name: str,
        buffers: str,
    ) -> None:
        self._group, self._resources, self._ranks = group, resources, ranks
        self._setup, self._name = (buffers, *setup), name
        self._threads: set[threading.Thread] = set()

    def start(self, number: int) -> None:
        """Start a worker. Blocks: never."""
        thread = threading.Thread(target=self._run, args=(number,), name="cmpi-pool-start", daemon=True)
        self._threads.add(thread)
        thread.start()

    def join(self) -> None:
        """Wait until no worker is being started."""
        for thread in list(self._threads):
            thread.join()

    def _run(self, number: int) -> None:
        name = f"{self._name}-{number}"
        try:
            pids = self._spawned(number, name)
            if pids is not None:
                self._group.started(number, pids, name)
        except BaseException as error:
            self._group.start_failed(number, error)
        finally:
            self._threads.discard(threading.current_thread())

    def _spawned(self, number: int, name: str) -> list[Pid] | None:
        """The processes of a new worker; None if the worker was not wanted any more before there was room
        for it."""
        run = worker.work if self._ranks == 1 else worker.work_as_rank
        setup, label = (name, *self._setup), f"worker {number}"

        def wanted() -> bool:
            return self._group.wanted(number)

        try:
            return spawn_while(wanted, LOOK_S, self._ranks, run, setup, self._resources, label)
        except TimeoutError:
            return None
