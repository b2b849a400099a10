"""The starts of processes on this host, for the root or a host spawner, and what can become of them.

MPI does not tell when a process that it starts ends early, nor when it cannot start any more, and
MPI_Comm_spawn then does not return. What is known from elsewhere is put together here.
"""

from __future__ import annotations

import os

from cmpi._core.job.process_table import START_S
from cmpi._runtime import environment
from cmpi._runtime.linux import pid_files, shared_memory_room
from cmpi._runtime.root import spawn_room, spawning_mpi
from cmpi._runtime.root.expected import Expected
from cmpi._runtime.root.spawner import MPI_INIT, Spawner
from cmpi._transport import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cmpi._core.job.job_actions import Launch
    from cmpi._runtime.root.spawner import SpawnCall

# After so long, a process that MPI starts either has written its file or is seen on its way to do so. On a
# busy machine MPI's launcher may take seconds before it starts one.
UNSEEN_S = 10.0
MOST_ABANDONED = 3  # calls of MPI_Comm_spawn; after that, something is wrong with MPI itself


class HostStarts:
    """All starts on this host.

    Args:
        folder: The job's folder.
        failed: Called, in another thread, with the number of a start that failed and the reason.
    """

    def __init__(self, folder: str, failed: Callable[[int, str], None]) -> None:
        self._folder = folder
        self._spawner = Spawner(failed)
        self._rooms = spawn_room.of_host()
        self._expected = Expected(folder)
        self._prepared = False

    def prepare(self) -> str:
        """Start MPI here and in the spawn completer, unless that has been done, and return ""; or return
        why it would crash now. Blocks: never."""
        if self._prepared:
            return ""
        if lack := shared_memory_room.lack(os.environ.get(environment.MPI, "")):
            return lack
        self._prepared = True
        spawning_mpi.tell_completer(spawning_mpi.NEEDED)
        self._expected.started(pid_files.COMPLETER, clock.now_s())
        self._spawner.begin()
        return ""

    def expect(self, start: int, n: int) -> None:
        """cmpirun has started the ranks of this start on this host."""
        for rank in range(n):
            self._expected.started(pid_files.start(start, rank), clock.now_s())

    def launch(self, launch: Launch) -> str:
        """Have MPI start these processes, and return ""; or return why that is impossible."""
        now_s = clock.now_s()
        lack = self._stuck(now_s) or self.prepare()
        lack = lack or spawn_room.lack(self._rooms, len(launch.pids), len(self._expected))
        if lack:
            return lack
        self.expect(launch.start, len(launch.pids))
        self._spawner.submit(launch)
        return ""

    def came(self, what: str) -> None:
        """A process has reported, whose name in `pid_files` is `what`."""
        self._expected.came(what, clock.now_s())

    @property
    def initialized(self) -> bool:
        """Whether MPI has been started here, or could not be."""
        return self._spawner.initialized

    @property
    def busy(self) -> bool:
        """Whether MPI is starting something."""
        return self._spawner.call is not None

    @property
    def deadline_s(self) -> float | None:
        """When to ask for `ended` and `hopeless`."""
        return self._expected.deadline_s

    def ended(self, now_s: float) -> list[tuple[str, str]]:
        """The processes that have ended before they could report, since the last call: the name in
        `pid_files` and the port of each."""
        return self._expected.ended(now_s)

    def hopeless(self, now_s: float) -> list[tuple[int, str]]:
        """The starts that are given up now: the number and the reason of each."""
        call = self._spawner.call
        if call is None:
            return []
        if reason := self._stuck(now_s):
            given_up = [call.start, *self._spawner.drop()]
        elif self._has_vanished(call, now_s) and self._spawner.abandon(call):
            reason, given_up = "MPI's process for it has ended before it could report", [call.start]
        else:
            return []
        given_up = [start for start in given_up if start != MPI_INIT]
        for start in given_up:
            self._expected.forget(start)
        return [(start, reason) for start in given_up]

    def drop(self) -> None:
        """The job is over: make no start that has not begun."""
        self._spawner.drop()

    def close(self) -> bool:
        """End; False if MPI_Comm_spawn does not return. Blocks: at most a second."""
        return self._spawner.close()

    def _silent_s(self, call: SpawnCall, now_s: float) -> float:
        """How long nothing has been heard of processes that are being started."""
        return now_s - max(call.since_s, self._expected.heard_s)

    def _stuck(self, now_s: float) -> str:
        """Why the start in progress and later ones are hopeless, or "".

        Hydra (MPICH) starts nothing any more, and MPI_Comm_spawn does not return, once the kernel has
        refused it a process.
        """
        call = self._spawner.call
        if call is None or self._silent_s(call, now_s) < START_S:
            return ""
        return (
            "MPI's launcher on this host has stopped starting processes: an earlier MPI_Comm_spawn has "
            f"not returned in {now_s - call.since_s:.0f} s. "
            "The kernel may have refused it a process (ulimit -u)"
        )

    def _has_vanished(self, call: SpawnCall, now_s: float) -> bool:
        """Whether the process that MPI is starting has ended before it could write its file."""
        if call.start == MPI_INIT or self._spawner.abandoned >= MOST_ABANDONED:
            return False
        if self._silent_s(call, now_s) < UNSEEN_S:
            return False
        return not pid_files.is_starting(self._folder, call.start)
