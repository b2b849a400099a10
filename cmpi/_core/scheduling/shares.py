"""Limits on the resources that one party of a job may hold: --cpus and --memory of a deployment."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.scheduling.host_room import Submit


class Share:
    """One party's limits, over all hosts together, and the resources that it holds now; 0 is no limit."""

    def __init__(self, cpu_units: int, memory_bytes: int) -> None:
        self.cpu_units, self.memory_bytes = cpu_units, memory_bytes
        self.held_cpu_units = self.held_memory_bytes = 0

    def free_cpu_units(self, otherwise: int) -> int:
        """The CPUs that the party may still take where `otherwise` are free."""
        return min(otherwise, self.cpu_units - self.held_cpu_units) if self.cpu_units else otherwise

    def free_memory_bytes(self, otherwise: int) -> int:
        """The memory that the party may still take where `otherwise` is free."""
        return (
            min(otherwise, self.memory_bytes - self.held_memory_bytes) if self.memory_bytes else otherwise
        )

    def fits(self, request: Submit) -> bool:
        """Whether the party may take the request, with its whole group, in addition to what it holds."""
        return self.fits_more(request.n, request.cpu_units, request.memory_bytes)

    def fits_more(self, n: int, cpu_units: int, memory_bytes: int) -> bool:
        """Whether the party may take n more processes of this size."""
        cpus, memory = n * cpu_units, n * memory_bytes
        return self.free_cpu_units(cpus) == cpus and self.free_memory_bytes(memory) == memory

    def holds(self, request: Submit) -> bool:
        """Whether the request is within the limits at all, that is, if the party holds nothing."""
        return Share(self.cpu_units, self.memory_bytes).fits(request)

    def take(self, request: Submit, sign: int) -> None:
        """Count one more of the request's processes; with sign -1, one less."""
        self.held_cpu_units += sign * request.cpu_units
        self.held_memory_bytes += sign * request.memory_bytes


UNBOUND = Share(0, 0)
