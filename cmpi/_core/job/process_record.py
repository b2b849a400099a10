"""What the root knows of one process."""

from __future__ import annotations

from cmpi._core.job.erlang_links import SUPERVISE
from cmpi._core.job.job_actions import Order
from cmpi._core.limits import enforcement, niceness, weight
from cmpi._core.protocol import frames
from cmpi.identifiers import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.job.scheduler import Place
    from cmpi.identifiers import ExitStatus


class Process:
    """A process of the job; the `Job` machine keeps it up to date."""

    def __init__(self, pid: int, parent: int, start: int, rank: int, label: str) -> None:
        self.pid, self.parent, self.start, self.rank, self.label = pid, parent, start, rank, label
        self.host = ""
        self.resources = Resources()
        self.order: frames.Spawn | None = None  # the closure, until the process has it
        self.python = ""  # its interpreter; known when it has joined
        self.cores: list[int] = []  # of its own
        self.nice, self.cpu_weight = 0, 100
        self.asks_memory = False  # else what it was granted is the default
        self.peak_bytes, self.cpu_s, self.core = 0, 0.0, ""  # when it has ended
        self.memory = ""  # the shared memory that it sees; likewise
        self.monitored = False  # its monitor has reported
        self.joined = False
        self.supervised = False  # its failures are its supervisor's business
        self.doomed = 0  # the signal it was sent on somebody's request
        self.because = ""  # why, if not by the program's own wish
        self.summary = self.trace = ""  # of the exception it raised
        self.fault = ""  # why it could not be started
        self.status: ExitStatus | None = None
        self.watchers: set[int] = set()

    def placed(self, order: frames.Spawn, place: Place, python: str) -> None:
        """There is room for what was ordered; it runs in this interpreter."""
        self.host, self.order, self.python = place.host, order, python
        self.resources = Resources.of_units(order.cpu_units, order.memory_bytes)
        self.cores, self.asks_memory = list(place.cores), bool(order.asks_memory)
        if order.asks_cpus:
            self.nice, self.cpu_weight = niceness(order.cpu_units), weight(order.cpu_units)
        self.supervised = order.tie == SUPERVISE

    def limit(self, mode: str) -> Order:
        """What its monitor is to know of its memory; `mode` is what the person has said."""
        enforce = enforcement(mode, asked=self.asks_memory)
        return Order(self.pid, frames.Limit(self.resources.memory_bytes, enforce, self.cpu_weight))

    @property
    def short_name(self) -> str:
        """As it is called in the middle of a sentence."""
        return f"rank {self.rank}" if self.start == 0 else f"{self.pid:07x}"

    @property
    def usage(self) -> dict[str, float]:
        """What it was granted, and what it had used when it ended."""
        return {
            "granted_cpus": self.resources.cpus,
            "cpu_s": round(self.cpu_s, 3),
            "granted_bytes": self.resources.memory_bytes,
            "peak_bytes": self.peak_bytes,
        }


def memory_between(one: Process | None, other: Process | None, *, allowed: bool) -> int:
    """Whether these two can send to each other through shared memory, as far as that is known."""
    if one is None or other is None:
        return frames.MEMORY_UNKNOWN
    if one.joined and other.joined:
        shared = allowed and one.memory and one.memory == other.memory
        return frames.MEMORY_SHARED if shared else frames.MEMORY_APART
    likely = allowed and one.host == other.host and one.memory
    return frames.MEMORY_LIKELY if likely else frames.MEMORY_UNKNOWN
