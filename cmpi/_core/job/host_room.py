"""The room on a host, and requests for it."""

from __future__ import annotations

from math import inf

from cmpi._base.frozen import frozen
from cmpi._base.units import CPU_UNIT
from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@frozen
class Submit:
    """Event: somebody asks for room. `ticket` names the request in the answer."""

    ticket: int
    owner: int
    cpu_units: int
    memory_bytes: int
    wait: bool
    bind: bool = False  # to cores of its own, if it asks for whole ones and there are any
    host: str = ""  # the only one that will do
    near: str = ""  # the one that is best, if there is room now
    pack: bool = False  # onto the host with least room, rather than with most
    n: int = 1  # so many at once or none, as a group: tickets from this one on
    party: int = NO_PID  # whose the owner is: a guest, or who has deployed its program


class Host:
    """The resources of one host, in total and free."""

    def __init__(
        self,
        name: str,
        cpu_units: int,
        memory_bytes: int,
        cores: Sequence[int] = (),
        address: str = "",
        python: str = "",
    ) -> None:
        self.name, self.address, self.python = name, address, python
        self.unbound = sorted(cores, reverse=True)  # cores to which nobody is bound
        self.cpu_units = self.free_cpu_units = cpu_units
        self.memory_bytes = self.free_memory_bytes = memory_bytes
        self.coreless = 0  # processes here that hold no CPU

    def holds(self, request: Submit) -> bool:
        """True if the request fits into the empty host."""
        if request.host not in ("", self.name):
            return False
        return request.cpu_units <= self.cpu_units and request.memory_bytes <= self.memory_bytes

    def fits(self, request: Submit) -> bool:
        """True if the request fits into what is free."""
        if request.host not in ("", self.name):
            return False
        return request.cpu_units <= self.free_cpu_units and request.memory_bytes <= self.free_memory_bytes

    def times(self, cpu_units: int, memory_bytes: int) -> int | float:
        """How many requests of this size fit into what is free."""
        by_cpus = self.free_cpu_units // cpu_units if cpu_units else inf
        return min(by_cpus, self.free_memory_bytes // memory_bytes if memory_bytes else inf)

    def take(self, request: Submit, sign: int = 1) -> None:
        """Take the request's share, or give it back with sign -1."""
        self.free_cpu_units -= sign * request.cpu_units
        self.free_memory_bytes -= sign * request.memory_bytes
        self.coreless += 0 if request.cpu_units else sign

    @property
    def quiet_cpu_units(self) -> int:
        """The free CPUs if each process that reserves none used a core; negative if there are many."""
        return self.free_cpu_units - CPU_UNIT * self.coreless

    def bind(self, request: Submit) -> tuple[int, ...]:
        """Cores for this request alone; none if it does not want whole ones, or too few are left."""
        n, rest = divmod(request.cpu_units, CPU_UNIT)
        if not request.bind or rest or not 0 < n <= len(self.unbound):
            return ()
        return tuple(self.unbound.pop() for _ in range(n))

    def unbind(self, cores: tuple[int, ...]) -> None:
        """They are nobody's again."""
        self.unbound = sorted([*self.unbound, *cores], reverse=True)
