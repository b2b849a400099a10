"""The connection of a process to the root, by way of its monitor: frames, requests and their replies."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections import deque

from cmpi._core.protocol import process_root
from cmpi._core.protocol.process_root_links import NameIs
from cmpi._core.protocol.wire import Decoder, encode
from cmpi._runtime.process.node_lock import NodeLock
from cmpi._transport import joining
from cmpi.errors import InternalError
from cmpi.identifiers import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from cmpi._core.job.interpreter import Interpreter
    from cmpi._runtime.process.condition import ChannelCondition
    from cmpi._runtime.process.wait_registry import WaitRegistry
    from cmpi.identifiers import Pid

ANSWER = "an answer of the scheduler"
ROOM = "room for a spawn"
REPLIES = (process_root.Spawned, process_root.Refused, process_root.CapacityIs, NameIs)


class RootConnection:
    """Thread-safe, but for `receive`, which is one thread's.

    Raises: NotRunning: The monitor does not take this process in.

    Args:
        fd: The socket that the monitor gave this process, by which to join.
        changed: Is told of replies by whoever calls `answered`.
        waits: Where to note that a thread waits for one.
    """

    def __init__(self, fd: int, changed: ChannelCondition, waits: WaitRegistry) -> None:
        with socket.socket(fileno=fd) as inherited:
            self._sock = socket.socket(fileno=joining.join(inherited).detach())
        self._changed, self._waits = changed, waits
        self._decoder = Decoder(process_root.TO_PROCESS)
        self._write_lock = NodeLock()  # so that no signal handler's exception cuts a frame in two
        self._replies: dict[int, Any] = {}
        self._abandoned: set[int] = set()  # requests whose caller has stopped waiting
        self._next_request = 1
        self._looked_at: set[int] = set()  # processes whose ends the root knows to be dealt with

    def refuse(self, error: Callable[[], Exception]) -> None:
        """Raise this error from now on instead of sending anything."""
        self._write_lock.refuse(error)

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self._sock.fileno()

    def tell(self, frame: Any) -> None:
        """Send a frame to the root. Blocks: until the monitor takes it."""
        with self._write_lock:
            try:
                self._sock.sendall(encode(frame))
            except OSError:
                self._orphaned()

    def looked_at(self, pid: Pid) -> None:
        """The program has received how this process ended, or failed: that is its business now."""
        if pid.value not in self._looked_at:
            self._looked_at.add(pid.value)
            self.tell(process_root.LookedAt(pid.value, True))

    def ask(self, make: Callable[[int], Any], timeout_s: float | None = None, what: str = ANSWER) -> Any:
        """Send a request and wait for its reply.

        Args:
            make: Makes the frame, given the number of the request.
            timeout_s: Longest wait. None waits for ever.
            what: What the caller waits for, in words.

        Raises:
            TimeoutError: No reply in time; a late one is dealt with as if nobody had asked.
        """
        request, reply = 0, None

        def answered() -> bool:
            return request in self._replies

        try:
            with self._changed:
                request = self._request(make)
                with self._waits.on(what, [], timeout_s, answered):
                    if not self._changed.wait_for(answered, timeout_s):
                        raise TimeoutError(f"{what}: none came within {timeout_s} s")
                reply = self._replies.pop(request)
            return reply  # noqa: RET504  the handler of an exception needs it
        except BaseException:  # a signal handler's, too, even if it comes behind the reply
            if request:
                with self._changed:
                    if reply is not None:
                        self._replies[request] = reply
                    self._abandon(request)
            raise

    async def ask_async(self, make: Callable[[int], Any], what: str = ANSWER) -> Any:
        """As `ask`, in an event loop; cancelling is as a timeout."""
        request = self._request(make)
        answered = self._waits.on(what, [], None, lambda: request in self._replies)
        try:
            await self._changed.until(answered)
        except BaseException:
            with self._changed:
                self._abandon(request)
            raise
        with self._changed:
            return self._replies.pop(request)

    def _request(self, make: Callable[[int], Any]) -> int:
        with self._changed:
            request = self._next_request
            self._next_request += 1
        self.tell(make(request))
        return request

    def _abandon(self, request: int) -> None:
        if request in self._replies:  # it came in this very moment
            reply = self._replies.pop(request)
            self._abandoned.add(request)
            self.answered(reply)
        else:
            self._abandoned.add(request)
            self.tell(process_root.Cancel(request))

    def answered(self, frame: Any) -> None:
        """A reply has come; dealt with, if nobody waits for it any more. With the lock held."""
        if frame.request not in self._abandoned:
            self._replies[frame.request] = frame
            return
        self._abandoned.discard(frame.request)
        if isinstance(frame, process_root.Spawned):
            for pid in frame.pids:
                self.tell(process_root.Kill(pid, 9))  # its caller's time ran out before it came

    def receive(self) -> Iterable[Any]:
        """The frames that are there. Never blocks."""
        try:
            data = self._sock.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return ()
        except OSError:
            data = b""
        if not data:
            self._orphaned()
        return self._decoder.feed(data)

    def join(self, memory: str, interpreter: Interpreter, resources: Resources | None) -> None:
        """Ask to be let into the job.

        Args:
            memory: A name for the folder in shared memory that this process sees.
            interpreter: How this one was started.
            resources: What this process needs, if it asks for anything.
        """
        asks = Resources(0, 0) if resources is None else resources
        frame = process_root.Join(
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
        """The first frame, and what came with it."""
        while True:
            data = self._sock.recv(1 << 20)
            if not data:
                self._orphaned()
            waiting = deque(self._decoder.feed(data))
            if not waiting:
                continue
            welcome = waiting.popleft()
            if not isinstance(welcome, process_root.Welcome):
                raise InternalError(f"{type(welcome).__name__} in place of a welcome")
            return welcome, waiting

    def _orphaned(self) -> None:
        """The monitor has gone, and with it everything this process could say or be told."""
        with contextlib.suppress(OSError):  # it read that, too
            print("cmpi: the monitor of this process has gone; so must it", file=sys.stderr, flush=True)
        os._exit(137)
