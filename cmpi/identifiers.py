"""Values used everywhere: `Pid`, `Resources`, `ExitStatus`, `Capacity`."""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi._base.units import CPU_UNIT, format_cpus, format_memory, parse_cpus, parse_memory
from cmpi._base.usage_error import UsageError

PID_BITS = 28  # seven hexadecimal digits, as people read them
NO_PID = 0xFFFFFFFF  # in place of the number of a Pid: nobody

SPREAD, PACK = "spread", "pack"

DEFAULT_MEMORY_BYTES = 16 << 20  # what a spawned process and its monitor take before they do anything

OK = 0  # code of a process that succeeded
RAISED = 1  # code of a process whose function raised, as Python's own


@frozen
class Pid:
    """The identity of a process, unique in its job and valid on all its hosts.

    It is hashable, comparable for equality and small, so it can be sent and stored freely.
    """

    value: int

    def __new__(cls, value: int = 0) -> Pid:
        if not isinstance(value, int) or value < 0:
            raise UsageError(f"a Pid is a number, 0 or more, that cmpi gave to a process; found {value!r}")
        return object.__new__(cls)

    def __str__(self) -> str:
        return f"{self.value:07x}"

    def __repr__(self) -> str:
        return f"{self.value:07x}"  # as everywhere that people see it

    def _repr_html_(self) -> str:
        return f'<code title="a process of a cmpi job">{self}</code>'


class Resources:
    """The CPUs and memory that a process needs.

    Args:
        cpus: Logical cores, possibly a fraction, in steps of 1/65536. A process that asks for whole cores
            is bound to cores of its own as long as any are free; one that asks for a fraction gets a nice
            value for that share. None or 0: it reserves no core and never waits for one.
        memory: Bytes as an int, or text such as "200 MiB". A process that uses more than it asked for
            (and more than 64 MiB) is killed (`cmpirun --enforce` changes that). None: it reserves 16 MiB,
            about as much as an idle process uses, and has no limit.
        host: The host it must run on, by its name in the hostfile. None: any.
        near: A process; use its host if there is room now, otherwise ignore this.
        place: "spread" (the default) chooses the host with the most free CPUs, so that processes share
            memory bandwidth with fewer others; "pack" chooses the host with the fewest that has room.

    Raises:
        UsageError: An amount is negative or unreadable, or `place` has another value.

    >>> Resources(cpus=0.5, memory="200 MiB")
    Resources(cpus=0.5, memory='200 MiB')
    """

    __slots__ = ("asks_cpus", "asks_memory", "cpu_units", "host", "memory_bytes", "near", "place")

    def __init__(
        self,
        cpus: float | None = None,
        memory: int | str | None = None,
        *,
        host: str | None = None,
        near: Pid | None = None,
        place: str = SPREAD,
    ) -> None:
        if place not in (SPREAD, PACK):
            raise UsageError(f"place is {SPREAD!r} or {PACK!r}; found {place!r}")
        self.host, self.near, self.place = host, near, place
        self.cpu_units = parse_cpus(0 if cpus is None else cpus)
        self.memory_bytes = DEFAULT_MEMORY_BYTES if memory is None else parse_memory(memory)
        self.asks_cpus, self.asks_memory = self.cpu_units > 0, memory is not None

    @classmethod
    def of_units(cls, cpu_units: int, memory_bytes: int) -> Resources:
        """Create one from the scheduler's own units: 1/65536 of a core, and bytes."""
        return cls(cpu_units / CPU_UNIT, memory_bytes)

    @property
    def cpus(self) -> float:
        """Logical cores."""
        return self.cpu_units / CPU_UNIT

    @property
    def memory(self) -> int:
        """Bytes."""
        return self.memory_bytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resources) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[object, ...]:
        return self.cpu_units, self.memory_bytes, self.host, self.near, self.place

    def __repr__(self) -> str:
        cpus, memory = format_cpus(self.cpu_units), format_memory(self.memory_bytes)
        text = f"cpus={cpus}, memory={memory!r}"
        text += "" if self.host is None else f", host={self.host!r}"
        text += "" if self.near is None else f", near={self.near!r}"
        text += "" if self.place == SPREAD else f", place={self.place!r}"
        return f"Resources({text})"


@frozen
class ExitStatus:
    """How a process ended. It has no truth value: write `if cmpi.wait(pid).ok:`.

    Attributes:
        code: The exit code, 0 to 255; 128 + signal if a signal ended the process, as in a shell.
        signal: The number of that signal, else 0.
        verdict: Details, such as "ValueError: no such column", or "".
        requested: True if the program or the user asked for this end (`kill`, Ctrl-C); then it is not a
            failure.
    """

    code: int
    signal: int = 0
    verdict: str = ""
    requested: bool = False

    @property
    def ok(self) -> bool:
        """True if the process succeeded, or ended because it was told to."""
        return self.requested or self.code == OK

    def __bool__(self) -> bool:
        """Raises: UsageError: Always. 0 means success to a shell but false to Python: use `.ok` or
        `.code`."""
        raise UsageError(
            "an ExitStatus is neither true nor false: use `status.ok`, or compare `status.code`"
        )

    def __str__(self) -> str:
        if self.signal:
            text = f"signal {self.signal} ({SIGNAL_NAMES.get(self.signal, 'unknown')})"
        else:
            text = str(self.code)
        if self.requested and not self.verdict:
            text += ", as requested"
        return f"{text}: {self.verdict}" if self.verdict else text


@frozen
class Capacity:
    """The resources of the whole job, in total and free now."""

    total: Resources
    free: Resources


# Linux numbers, written out because importing `signal` costs 4 ms in every monitor.
SIGNAL_NAMES = {
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS",
    8: "SIGFPE", 9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE",
    14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU", 25: "SIGXFSZ", 31: "SIGSYS",
}  # fmt: skip
