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
    """Event: a request for room. `ticket` names the request in the answer."""

    ticket: int
    owner: int
    cpu_units: int
    memory_bytes: int
    wait: bool
    bind: bool = False  # bind to cores of its own, if it asks for whole ones and any are free
    host: str = ""  # only this host
    near: str = ""  # preferred, if there is room now
    pack: bool = False  # onto the host with the least room that fits, not the most
    n: int = 1  # a group: n at once or none; their tickets follow this one
    party: int = NO_PID  # the owner's party: a guest, or the cmpirun that deployed it


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
        self.unbound = sorted(cores, reverse=True)  # cores that no process is bound to
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
        """Subtract the request's share from what is free; with sign -1, give it back."""
        self.free_cpu_units -= sign * request.cpu_units
        self.free_memory_bytes -= sign * request.memory_bytes
        self.coreless += 0 if request.cpu_units else sign

    @property
    def quiet_cpu_units(self) -> int:
        """The CPUs that would be free if each process without a reservation used a core; negative if there
        are many."""
        return self.free_cpu_units - CPU_UNIT * self.coreless

    def bind(self, request: Submit) -> tuple[int, ...]:
        """Choose cores for this request alone; none if it does not want whole cores, or too few are
        left."""
        n, rest = divmod(request.cpu_units, CPU_UNIT)
        if not request.bind or rest or not 0 < n <= len(self.unbound):
            return ()
        return tuple(self.unbound.pop() for _ in range(n))

    def unbind(self, cores: tuple[int, ...]) -> None:
        """Give the cores back."""
        self.unbound = sorted([*self.unbound, *cores], reverse=True)
