"""The total resources that a program's processes have used."""

from __future__ import annotations

from cmpi._core.limits import LEAST_ENFORCED_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cmpi._core.job.process_record import Process

MOST_LABELS = 1000


class Usage:
    """Sums over processes."""

    def __init__(self) -> None:
        self.processes, self.cpu_s, self.peak_bytes = 0, 0.0, 0
        self.hosts: set[str] = set()
        # By label and requested memory: how many processes used some, and the most that one used.
        self.memory: dict[tuple[str, int], tuple[int, int]] = {}

    def add(self, process: Process) -> None:
        """Add a process."""
        self.processes += 1
        self.cpu_s += process.cpu_s
        self.peak_bytes = max(self.peak_bytes, process.peak_bytes)
        self.hosts.add(process.host)
        asked = process.promised_bytes
        key = process.label, asked
        if asked < LEAST_ENFORCED_BYTES or not process.peak_bytes:
            return
        if key in self.memory or len(self.memory) < MOST_LABELS:
            n, peak_bytes = self.memory.get(key, (0, 0))
            self.memory[key] = n + 1, max(peak_bytes, process.peak_bytes)

    def with_all(self, processes: Iterable[Process]) -> Usage:
        """These sums with these processes added."""
        total = Usage()
        total.processes, total.cpu_s, total.peak_bytes = self.processes, self.cpu_s, self.peak_bytes
        total.hosts, total.memory = set(self.hosts), dict(self.memory)
        for process in processes:
            total.add(process)
        return total
