"""Messages for the user while the job runs, each kind only once. Pure."""

from __future__ import annotations

from cmpi._core.job.job_actions import Say
from cmpi._core.limits import over

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.job.process_record import Process
    from cmpi._core.protocol import monitor_root


class Complaints:
    """Remembers which messages were given: a program that runs one function a thousand times gets only
    one."""

    def __init__(self) -> None:
        self._memory: set[str] = set()  # labels of processes
        self._room: set[str] = set()

    def over_memory(self, process: Process, frame: monitor_root.OverMemory) -> list[Say]:
        """Report that a process uses, or used, more memory than it asked for."""
        text = over(process.resources.memory_bytes, frame.used_bytes, frame.at)
        if frame.ended:
            process.fault = f"out of memory: {text}"
            return []
        if process.label in self._memory:
            return []
        self._memory.add(process.label)
        what = f"{process.title}, {process.label}: memory: {text}"
        return [
            Say(f"{what}. Ask for what it needs: spawn(..., resources=Resources(memory=...))", process.pid)
        ]

    def no_room(self, process: Process, shortages: list[str]) -> list[Say]:
        """Report that a process has waited for a while for room to spawn others."""
        if process.label in self._room or not shortages:
            return []
        self._room.add(process.label)
        return [Say(f"{process.title}: {shortages[0]}", process.pid)]
