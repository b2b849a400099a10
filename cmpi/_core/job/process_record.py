"""The root's record of one process."""

from __future__ import annotations

from cmpi._core.job.erlang_links import SUPERVISE
from cmpi._core.job.interpreter import Interpreter
from cmpi._core.job.job_actions import Order
from cmpi._core.job.kill_timers import SIGKILL
from cmpi._core.job.start_numbers import is_program
from cmpi._core.limits import enforcement, niceness, weight
from cmpi._core.protocol import monitor_root, process_root
from cmpi.identifiers import NO_PID, RAISED, ExitStatus, Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.scheduling.scheduler import Place


MOST_NAME = 27  # characters of a name that are shown


class Process:
    """A process of the job; the job machine keeps it up to date."""

    # Slots save memory: there may be thousands of processes.
    __slots__ = (
        "_given", "asks_memory", "because", "begun", "core", "cores", "cpu_s", "cpu_weight",
        "doomed", "fault", "grouped", "guest", "host", "interpreter", "is_guest", "joined", "label",
        "looked_at_by", "memory", "monitored", "name", "nice", "order", "over", "parent", "peak_bytes",
        "pid", "rank", "resources", "start", "status", "summary", "supervised", "trace", "watchers",
    )  # fmt: skip

    def __init__(self, pid: int, parent: int, start: int, rank: int, label: str) -> None:
        self.pid, self.parent, self.start, self.rank = pid, parent, start, rank
        self.label = label
        self.name = f"rank {rank}" if self.is_rank else function_name(label)  # for people
        self._given = False  # it was named when it was spawned
        self.grouped = False  # spawned as part of a group
        self.is_guest = False  # it joined by itself: the job has not started it
        self.guest = NO_PID  # the guest or deploying cmpirun that it descends from, or is
        self.host = ""
        self.resources = Resources()
        self.order: process_root.Spawn | None = None  # the closure, until the process has been sent it
        self.interpreter = Interpreter("")  # known when it has joined
        self.cores: list[int] = []  # cores that it is bound to
        self.nice, self.cpu_weight = 0, 100
        self.asks_memory = False  # otherwise its memory grant is the default
        self.peak_bytes, self.cpu_s, self.core = 0, 0.0, ""  # once it has ended
        self.memory = ""  # which shared memory it sees; known once it has joined
        self.monitored = False  # its monitor has connected
        self.begun = False  # its monitor was told to start it
        self.joined = False
        self.supervised = False  # its failures are its supervisor's business
        self.doomed = 0  # the signal it was sent on somebody's request
        self.because = ""  # why; "" if the program itself asked for it
        self.summary = self.trace = ""  # of the exception it raised
        self.fault = ""  # why it could not be started
        self.status: ExitStatus | None = None
        self.over = False  # it has ended, and nothing more will be heard of it
        self.watchers: set[int] = set()
        self.looked_at_by: set[int] = set()  # processes that have received its end and dealt with it

    @property
    def is_rank(self) -> bool:
        """Whether cmpirun started it, as a rank of a program; otherwise it was spawned."""
        return is_program(self.start)

    def placed(self, order: process_root.Spawn, place: Place, interpreter: Interpreter) -> None:
        """There is room for the ordered process; it will run in this interpreter."""
        self.host, self.order, self.interpreter = place.host, order, interpreter
        self.resources = Resources.of_units(order.cpu_units, order.memory_bytes)
        self.cores, self.asks_memory = list(place.cores), order.asks_memory
        if order.asks_cpus:
            self.nice, self.cpu_weight = niceness(order.cpu_units), weight(order.cpu_units)
        self.supervised, self.grouped = order.tie == SUPERVISE, order.n > 1
        if order.name:
            self.name, self._given = readable(order.name), True

    def came_as_guest(self, host: str, name: str) -> None:
        """Note that a process that the job has not started runs on this host and is about to join."""
        self.is_guest, self.guest, self.host = True, self.pid, host
        self.name, self._given = name, True
        self.monitored = self.begun = True  # it has no monitor, and need not be started

    def registered(self, name: str) -> None:
        """Note the name that the process registered; it is shown by it, unless `spawn` named it."""
        if not self._given:
            self.name = readable(name)

    def welcome(
        self,
        world: list[int],
        bells: str,
        shared_bytes: int,
        memory: int,
        linked: list[int],
        deadline_s: float,
    ) -> process_root.Welcome:
        """The welcome that it gets when it joins, with its identity and facts about the job."""
        return process_root.Welcome(
            pid=self.pid,
            parent=self.parent,
            rank=self.rank,
            world=world,
            cpu_units=self.resources.cpu_units,
            memory_bytes=self.resources.memory_bytes,
            bells=bells,
            shared_memory_bytes=shared_bytes,
            memory=memory,
            cores=self.cores,
            nice=self.nice,
            linked=linked,
            deadline_s=deadline_s,
            promised_bytes=self.promised_bytes,
        )

    @property
    def promised_bytes(self) -> int:
        """The memory that it has asked for; 0: it has not."""
        return self.resources.memory_bytes if self.asks_memory else 0

    def end(self, status: ExitStatus, *, with_others: bool) -> ExitStatus:
        """Note how it ended, as its monitor saw it; return the status that counts.

        `with_others`: MPI's launcher ended it, because the program killed another rank of its world.
        """
        verdict = self.because or self.fault or self.summary or status.verdict
        if self.summary and status.signal == SIGKILL and not self.doomed:
            status = ExitStatus(RAISED)  # killed by us because its exception could not end it
        # Told to end with the others, it may exit with any code; killed by the program, it reports the
        # signal.
        requested = bool(self.because) or status.signal == self.doomed != 0 or with_others
        self.order, self.status = None, ExitStatus(status.code, status.signal, verdict, requested)
        return self.status

    def looked_at(self, by: int, *, handled: bool) -> None:
        """Note that process `by` was told how this one ended and deals with it; or, not `handled`, that it
        failed because of that."""
        (self.looked_at_by.add if handled else self.looked_at_by.discard)(by)

    def limit(self, mode: str) -> Order:
        """The memory limit for its monitor; `mode` is the value of --enforce, or ""."""
        enforce = enforcement(mode, asked=self.asks_memory)
        return Order(
            self.pid, monitor_root.LimitResources(self.resources.memory_bytes, enforce, self.cpu_weight)
        )

    @property
    def title(self) -> str:
        """Its name for people, with what distinguishes it from others of the same name."""
        if self.is_rank:
            rank = f"rank {self.rank}"
            return rank if self.name == rank else f"{rank} · {self.name}"
        return (
            f"{self.name}[{self.rank}] · {self.pid:07x}"
            if self.grouped
            else f"{self.name} · {self.pid:07x}"
        )

    @property
    def file_name(self) -> str:
        """The stem of the names of its files."""
        if self.is_rank:
            return f"rank-{self.rank}"
        name = "".join(c if c.isalnum() or c in "_.-" else "_" for c in self.name).lstrip(".")
        return f"{name}-{self.rank}-{self.pid:07x}" if self.grouped else f"{name}-{self.pid:07x}"

    @property
    def usage(self) -> dict[str, float]:
        """The resources that it was granted and, once it has ended, those that it used."""
        return {
            "granted_cpus": self.resources.cpus,
            "cpu_s": round(self.cpu_s, 3),
            "granted_bytes": self.resources.memory_bytes,
            "peak_bytes": self.peak_bytes,
        }


def readable(name: str) -> str:
    """A name as it may stand in a line: short, and without characters that a terminal would interpret.

    >>> readable("a\\nb" + 50 * "c")
    'a_bcccccccccccccccccccccccc'
    """
    return "".join(c if c.isprintable() else "_" for c in name[:MOST_NAME]).strip() or "process"


def function_name(label: str) -> str:
    """The name of the function in the label of a spawned process.

    >>> function_name("main.<locals>.work at job.py:3"), function_name("<lambda> at job.py:3")
    ('work', 'lambda')
    """
    name = label.partition(" at ")[0].rpartition("<locals>.")[2]
    return "lambda" if name == "<lambda>" else readable(name)


def memory_between(one: Process | None, other: Process | None, *, allowed: bool) -> int:
    """Whether these two can communicate through shared memory, as far as that is known."""
    if one is None or other is None:
        return process_root.MEMORY_UNKNOWN
    if one.joined and other.joined:
        shared = allowed and one.memory and one.memory == other.memory
        return process_root.MEMORY_SHARED if shared else process_root.MEMORY_APART
    likely = allowed and one.host == other.host and one.memory
    return process_root.MEMORY_LIKELY if likely else process_root.MEMORY_UNKNOWN


def ended_frame(pid: int, status: ExitStatus) -> process_root.Ended:
    """The frame that tells watchers about the end of a process."""
    return process_root.Ended(
        pid=pid,
        code=status.code,
        signal=status.signal,
        verdict=status.verdict,
        requested=status.requested,
    )
