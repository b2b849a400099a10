"""The connection of a process to the root: frames, requests and their replies.

It goes through the process's monitor. A guest has none, and is connected to the root directly.
"""

from __future__ import annotations

from collections import deque
from socket import MSG_DONTWAIT

from cmpi._core.protocol import process_root
from cmpi._core.protocol.wire import Decoder, encode
from cmpi._runtime.process import signal_guard
from cmpi._runtime.process.node_lock import NodeLock
from cmpi.errors import InternalError, NotRunning
from cmpi.identifiers import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from typing import Any

    from cmpi._core.job.interpreter import Interpreter
    from cmpi._runtime.process.condition import ChannelCondition
    from cmpi._runtime.process.wait_registry import WaitRegistry
    from cmpi.identifiers import Pid

ANSWER = "an answer from the root"
ROOM = "room for a spawn"
LOST = "the job has ended, or has sent this process away, which is part of no job any more"


class RootConnection:
    """The connection. Thread-safe, except that only one thread may call `receive`.

    Args:
        sock: A socket to the monitor, or to the root.
        changed: Notified of replies by the caller of `answered`.
        waits: Where threads that wait for a reply are recorded.
        orphaned: Called, in any thread, when the connection is found to have ended.
    """

    def __init__(
        self,
        sock: socket.socket,
        changed: ChannelCondition,
        waits: WaitRegistry,
        orphaned: Callable[[], None],
    ) -> None:
        self._sock, self._orphaned = sock, orphaned
        self.lost = False  # the connection has ended, but the process goes on
        self._changed, self._waits = changed, waits
        self._decoder = Decoder(process_root.TO_PROCESS)
        self._write_lock = NodeLock()  # so that no signal handler's exception cuts a frame in two
        self._replies: dict[int, Any] = {}
        self._abandoned: set[int] = set()  # requests whose caller has stopped waiting
        self._next_request = 1
        self._looked_at: set[int] = set()  # processes whose ends are known to be dealt with

    def refuse(self, error: Callable[[], Exception]) -> None:
        """Raise this error from now on instead of sending anything."""
        self._write_lock.refuse(error)

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self._sock.fileno()

    def tell(self, frame: Any) -> None:
        """Send a frame to the root, unless the connection is lost. Blocks: until the other end takes it."""
        with self._write_lock:
            if self.lost:
                return
            try:
                self._sock.sendall(encode(frame))
            except OSError:
                self._orphaned()

    def looked_at(self, pid: Pid) -> None:
        """The program has received the end, or the failure, of this process, and has to deal with it."""
        if pid.value not in self._looked_at:
            self.tell(process_root.LookedAt(pid.value, True))
            self._looked_at.add(pid.value)

    def ask(
        self,
        make: Callable[[int], Any],
        timeout_s: float | None = None,
        what: str = ANSWER,
        wanted: Callable[[], bool] = lambda: False,
    ) -> Any:
        """Send a request and wait for its reply.

        Args:
            make: Creates the frame, given the number of the request.
            timeout_s: Longest wait in seconds. None waits for ever.
            what: What the caller waits for, in words.
            wanted: Called without locks after each `timeout_s`: whether to wait for so long again.

        Raises:
            TimeoutError: No reply came in time; the effect of a late reply is undone.
            NotRunning: This process is a guest, and its job has ended.
        """
        request, reply = 0, None

        def answered() -> bool:
            return request in self._replies or self.lost

        try:
            with self._changed:
                request = self._request(make)
            while True:
                with self._changed:
                    with self._waits.on(what, [], timeout_s, answered):
                        in_time = self._changed.wait_for(answered, timeout_s)
                    if in_time:
                        reply = self._reply(request)
                        break
                if not wanted():
                    raise TimeoutError(f"{what} was not found within {timeout_s} s")
            return reply
        except BaseException:  # also a signal handler's, even if it comes just after the reply
            if request:
                with self._changed:
                    if reply is not None:
                        self._replies[request] = reply
                    self._abandon(request)
            raise

    async def ask_async(self, make: Callable[[int], Any], what: str = ANSWER) -> Any:
        """As `ask`, for an event loop; cancelling has the effect of a timeout."""
        request = self._request(make)
        answered = self._waits.on(what, [], None, lambda: request in self._replies or self.lost)
        try:
            await self._changed.until(answered)
        except BaseException:
            with self._changed:
                self._abandon(request)
            raise
        with self._changed:
            return self._reply(request)

    def _reply(self, request: int) -> Any:
        if request not in self._replies:
            raise NotRunning(LOST)
        return self._replies.pop(request)

    def _request(self, make: Callable[[int], Any]) -> int:
        with self._changed:
            request = self._next_request
            self._next_request += 1
        self.tell(make(request))
        return request

    def _abandon(self, request: int) -> None:
        if request in self._replies:  # it has just arrived
            reply = self._replies.pop(request)
            self._abandoned.add(request)
            self.answered(reply)
        else:
            self._abandoned.add(request)
            self.tell(process_root.Cancel(request))

    def answered(self, frame: Any) -> None:
        """A reply has arrived; if nobody waits for it any more, undo its effect. With the lock held."""
        if frame.request not in self._abandoned:
            self._replies[frame.request] = frame
            return
        self._abandoned.discard(frame.request)
        if isinstance(frame, process_root.Spawned):
            for pid in frame.pids:
                self.tell(process_root.Kill(pid, 9))  # its caller had stopped waiting

    def receive(self) -> Iterable[Any]:
        """Return the frames that have arrived. Never blocks."""
        try:
            data = self._sock.recv(1 << 20, MSG_DONTWAIT)
        except BlockingIOError:
            return ()
        except OSError:
            data = b""
        if not data:
            self._orphaned()
            return ()
        return self._decoder.feed(data)

    def join(self, memory: str, interpreter: Interpreter, resources: Resources | None) -> None:
        """Ask to join the job.

        Args:
            memory: Identifies the shared memory folder that this process sees.
            interpreter: How this process's Python was started.
            resources: The resources that this process asks for, if any.
        """
        asks = Resources(0, 0) if resources is None else resources
        frame = process_root.JoinJob(
            memory=memory,
            python=interpreter.program,
            asks=resources is not None,
            cpu_units=asks.cpu_units,
            memory_bytes=asks.memory_bytes,
            asks_memory=asks.asks_memory,
            flags=interpreter.flags,
            settings=interpreter.settings,
        )
        self.tell(frame)

    def await_welcome(self) -> tuple[process_root.Welcome, deque[Any]]:
        """Wait for the first frame; return it with the frames that followed."""
        while True:
            data = self._sock.recv(1 << 20)
            if not data:
                self._orphaned()
                raise NotRunning(LOST)
            waiting = deque(self._decoder.feed(data))
            if not waiting:
                continue
            welcome = waiting.popleft()
            if not isinstance(welcome, process_root.Welcome):
                raise InternalError(f"the root sent {type(welcome).__name__} instead of a welcome")
            return welcome, waiting

    def lose(self) -> None:
        """The connection has ended: nothing can be received or sent any more. With the lock of `changed`
        held."""
        self.lost = True
        self._changed.notify_all()

    def close(self) -> None:
        """Close the connection: this process has left the job and goes on."""
        self._sock.close()
        signal_guard.release(self._write_lock)
