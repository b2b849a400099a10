"""What each party may hold of the job's resources: bounds by --cpus and --memory of a deployment."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.job.host_room import Submit


class Share:
    """What one party may hold at a time on all hosts together, and what it holds; 0 for no bound."""

    def __init__(self, cpu_units: int, memory_bytes: int) -> None:
        self.cpu_units, self.memory_bytes = cpu_units, memory_bytes
        self.held_cpu_units = self.held_memory_bytes = 0

    def free_cpu_units(self, otherwise: int) -> int:
        """How much more it may hold of CPUs of which this much is free."""
        return min(otherwise, self.cpu_units - self.held_cpu_units) if self.cpu_units else otherwise

    def free_memory_bytes(self, otherwise: int) -> int:
        """How much more it may hold of memory of which this much is free."""
        return (
            min(otherwise, self.memory_bytes - self.held_memory_bytes) if self.memory_bytes else otherwise
        )

    def fits(self, request: Submit) -> bool:
        """Whether it may hold the request, with its whole group, in addition."""
        return self.fits_more(request.n, request.cpu_units, request.memory_bytes)

    def fits_more(self, n: int, cpu_units: int, memory_bytes: int) -> bool:
        """Whether it may hold so many processes of this size in addition."""
        cpus, memory = n * cpu_units, n * memory_bytes
        return self.free_cpu_units(cpus) == cpus and self.free_memory_bytes(memory) == memory

    def holds(self, request: Submit) -> bool:
        """Whether it may hold the request if it holds nothing else."""
        return Share(self.cpu_units, self.memory_bytes).fits(request)

    def take(self, request: Submit, sign: int) -> None:
        """It holds one of the request's processes more; with sign -1, one less."""
        self.held_cpu_units += sign * request.cpu_units
        self.held_memory_bytes += sign * request.memory_bytes


UNBOUND = Share(0, 0)
