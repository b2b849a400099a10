"""Facts that the root reported about other processes: whether they live, share memory, how they ended."""

from __future__ import annotations

from cmpi._core.protocol import process_root
from cmpi._core.protocol.process_root_links import Trap
from cmpi.identifiers import ExitStatus, Pid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._runtime.process.condition import ChannelCondition
    from cmpi._runtime.process.root_connection import RootConnection
    from cmpi._runtime.process.wait_registry import WaitRegistry


class Exits:
    """Knows the states of other processes. Thread-safe; "the lock" is the lock of `changed`.

    Args:
        changed: Notified by the caller after each frame of the root.
        root: The connection to the root.
        waits: Where waiting threads are recorded.
    """

    def __init__(self, changed: ChannelCondition, root: RootConnection, waits: WaitRegistry) -> None:
        self._lock, self._changed = changed.lock, changed
        self._root, self._waits = root, waits
        self._ended: dict[int, ExitStatus] = {}
        self._watched, self._alive = set[int](), set[int]()  # alive when the root was asked
        self._lost: ExitStatus | None = None  # the status of all processes, once the job is out of reach
        self._promised: dict[int, int] = {}  # by pid: the memory that it has asked for
        self._memory: dict[int, int] = {}  # by pid: one of `process_root.MEMORY_*`
        self.linked: set[int] = set()  # by Erlang's links
        self._trapping = False

    # -- from the root, with the lock ----------------------------------------------------------

    def came_alive(self, frame: process_root.Alive) -> None:
        """A watched process is alive."""
        self._alive.add(frame.pid)
        self._memory[frame.pid] = frame.memory
        if frame.promised_bytes:
            self._promised[frame.pid] = frame.promised_bytes

    def came_to_end(self, frame: process_root.Ended) -> ExitStatus:
        """A watched process has ended; return its status."""
        status = ExitStatus(frame.code, frame.signal, frame.verdict, frame.requested)
        self._ended[frame.pid] = status
        self._alive.discard(frame.pid)
        self._promised.pop(frame.pid, None)
        return status

    def lose_all(self, status: ExitStatus) -> None:
        """The job is out of reach: as far as this process can tell, all its processes have ended."""
        self._lost = status
        self._alive.clear()
        for pid in self._watched:
            self._ended.setdefault(pid, status)

    def came_to_share(self, pid: int, memory: int) -> None:
        """Note whether that process shares memory with this one: one of `process_root.MEMORY_*`."""
        self._memory[pid] = memory

    # -- ends ----------------------------------------------------------------------------------

    def watch(self, pid: Pid) -> None:
        """Have the root report the end of this process."""
        with self._lock:
            if pid.value in self._watched:
                return
        # If a signal handler raises before this is noted, the next caller sends it again.
        self._root.tell(process_root.Watch(pid.value))
        with self._lock:
            self._watched.add(pid.value)
            if self._lost is not None:
                self._ended.setdefault(pid.value, self._lost)

    def await_answer(self, pid: Pid) -> None:
        """Wait for the root's answer about a watched process. With the lock held.

        Because of this wait, the first message to a process on this host is in the ring before `send`
        returns. Left to the progress thread, it was never sent if the caller then kept the GIL: mpi4py's
        `allreduce`, `reduce` and `scan` of objects keep it while they wait (mpi4py 4.1.2), here for ranks
        that waited for that message.
        """
        self._changed.wait_for(lambda: pid.value in self._alive or pid.value in self._ended)

    def ended(self, pid: int) -> ExitStatus | None:
        """How a watched process has ended, if it has. With the lock held."""
        return self._ended.get(pid, self._lost)

    def wait_exit(self, pid: Pid, timeout_s: float | None) -> ExitStatus:
        """Wait until a process has ended.

        Raises:
            TimeoutError: The process is still running.
        """
        self.watch(pid)
        with self._lock:
            self.await_answer(pid)  # first: even with a timeout of 0, an ended process counts as ended

            def ended() -> bool:
                return pid.value in self._ended

            with self._waits.on("wait for", [pid], timeout_s, ended):
                self._changed.wait_for(ended, timeout_s)
            if not ended():
                raise TimeoutError(f"{pid} has not ended within {timeout_s} s")
            return self._received(pid)

    async def await_exit(self, pid: Pid) -> ExitStatus:
        """As `wait_exit`, for an event loop."""
        self.watch(pid)
        ended = self._waits.on("wait for", [pid], None, lambda: pid.value in self._ended)
        await self._changed.until(ended)
        return self._received(pid)

    def _received(self, pid: Pid) -> ExitStatus:
        """Return the status of an ended process to the program, which then has to deal with it."""
        if not self._ended[pid.value].ok:
            self._root.looked_at(pid)
        return self._ended[pid.value]

    # -- links -----------------------------------------------------------------------------------

    def tied(self, pid: int, on: bool) -> None:
        """Note whether this process is linked with that one, as in Erlang. Call it with the lock held."""
        (self.linked.add if on else self.linked.discard)(pid)
        self.watch(Pid(pid))

    def trap(self, on: bool) -> bool:
        """Set whether this process gets notices of the ends of linked processes instead of ending with
        them. Returns the former setting."""
        before, self._trapping = self._trapping, on
        self._root.tell(Trap(on))
        return before

    # -- memory ----------------------------------------------------------------------------------

    def promised_bytes(self, pid: Pid) -> int:
        """The memory that this process has asked for, as far as is known; 0: none. With the lock held."""
        return self._promised.get(pid.value, 0)

    def shares_memory(self, pid: Pid) -> bool | None:
        """Whether shared memory reaches that process; None: not known yet."""
        memory = self._memory.get(pid.value, process_root.MEMORY_UNKNOWN)
        known = memory in (process_root.MEMORY_SHARED, process_root.MEMORY_APART)
        return memory == process_root.MEMORY_SHARED if known else None

    def likely_shares_memory(self, pid: Pid) -> bool:
        """Whether that process has not joined, but will probably share memory with this one."""
        return self._memory.get(pid.value) == process_root.MEMORY_LIKELY
