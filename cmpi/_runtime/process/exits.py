"""The root's information on other processes: that they live, whether they share memory, how they ended."""

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
    """Thread-safe. Where a method asks for the lock to be held, it is the lock of `changed`.

    Args:
        changed: Is notified by whoever passes on what the root says.
        root: The connection with the root.
        waits: Where to note that a thread waits.
    """

    def __init__(self, changed: ChannelCondition, root: RootConnection, waits: WaitRegistry) -> None:
        self._lock, self._changed = changed.lock, changed
        self._root, self._waits = root, waits
        self._ended: dict[int, ExitStatus] = {}
        self._watched, self._alive = set[int](), set[int]()  # alive: when the root was asked
        self._lost: ExitStatus | None = None  # how all count as ended, once the job is out of reach
        self._memory: dict[int, int] = {}  # by pid: one of `process_root.MEMORY_*`
        self.linked: set[int] = set()  # in Erlang's sense
        self._trapping = False

    # -- from the root, with the lock ----------------------------------------------------------

    def came_alive(self, frame: process_root.Alive) -> None:
        """A watched process runs."""
        self._alive.add(frame.pid)
        self._memory[frame.pid] = frame.memory

    def came_to_end(self, frame: process_root.Ended) -> ExitStatus:
        """A watched process has ended; how."""
        status = ExitStatus(frame.code, frame.signal, frame.verdict, frame.requested)
        self._ended[frame.pid] = status
        self._alive.discard(frame.pid)
        return status

    def lose_all(self, status: ExitStatus) -> None:
        """The job is out of reach: all its processes have ended, as far as this one can tell."""
        self._lost = status
        self._alive.clear()
        for pid in self._watched:
            self._ended.setdefault(pid, status)

    def came_to_share(self, pid: int, memory: int) -> None:
        """Whether that process shares memory with this one: one of `process_root.MEMORY_*`."""
        self._memory[pid] = memory

    # -- ends ----------------------------------------------------------------------------------

    def watch(self, pid: Pid) -> None:
        """Have the root tell us when this process ends."""
        with self._lock:
            if pid.value in self._watched:
                return
        # A signal handler's exception before this is noted makes the next caller say it again.
        self._root.tell(process_root.Watch(pid.value))
        with self._lock:
            self._watched.add(pid.value)
            if self._lost is not None:
                self._ended.setdefault(pid.value, self._lost)

    def await_answer(self, pid: Pid) -> None:
        """Wait until the root has said what it knows of a watched process. With the lock held.

        The first message to a process on this host is in the ring then, before `send` returns. Else it was
        left to the progress thread, which never came to run where the caller went on to keep the GIL:
        mpi4py's `allreduce`, `reduce` and `scan` of objects do while they wait (mpi4py 4.1.2), here for
        ranks that waited for that message.
        """
        self._changed.wait_for(lambda: pid.value in self._alive or pid.value in self._ended)

    def ended(self, pid: int) -> ExitStatus | None:
        """How a watched process has ended, if it has. With the lock held."""
        return self._ended.get(pid, self._lost)

    def wait_exit(self, pid: Pid, timeout_s: float | None) -> ExitStatus:
        """Wait until a process has ended.

        Raises:
            TimeoutError: It runs on.
        """
        self.watch(pid)
        with self._lock:
            self.await_answer(pid)  # first: a process that has ended has ended, whatever the timeout

            def ended() -> bool:
                return pid.value in self._ended

            with self._waits.on("wait for", [pid], timeout_s, ended):
                self._changed.wait_for(ended, timeout_s)
            if not ended():
                raise TimeoutError(f"{pid} has not ended within {timeout_s} s")
            return self._received(pid)

    async def await_exit(self, pid: Pid) -> ExitStatus:
        """As `wait_exit`, in an event loop."""
        self.watch(pid)
        ended = self._waits.on("wait for", [pid], None, lambda: pid.value in self._ended)
        await self._changed.until(ended)
        return self._received(pid)

    def _received(self, pid: Pid) -> ExitStatus:
        """How a watched process has ended, for the program to deal with."""
        if not self._ended[pid.value].ok:
            self._root.looked_at(pid)
        return self._ended[pid.value]

    # -- links -----------------------------------------------------------------------------------

    def tied(self, pid: int, on: bool) -> None:
        """This process and that one are linked, in Erlang's sense, or no more. With the lock held."""
        (self.linked.add if on else self.linked.discard)(pid)
        self.watch(Pid(pid))

    def trap(self, on: bool) -> bool:
        """Whether to hear of the ends of those linked with this process, rather than end with them.
        Returns what it was."""
        before, self._trapping = self._trapping, on
        self._root.tell(Trap(on))
        return before

    # -- memory ----------------------------------------------------------------------------------

    def shares_memory(self, pid: Pid) -> bool | None:
        """Whether this process can send to that one through shared memory; None: not known yet."""
        memory = self._memory.get(pid.value, process_root.MEMORY_UNKNOWN)
        known = memory in (process_root.MEMORY_SHARED, process_root.MEMORY_APART)
        return memory == process_root.MEMORY_SHARED if known else None

    def likely_shares_memory(self, pid: Pid) -> bool:
        """Whether that one has not joined, and is expected to share memory with this process then."""
        return self._memory.get(pid.value) == process_root.MEMORY_LIKELY
