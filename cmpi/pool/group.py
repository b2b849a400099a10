"""The workers of one kind (with the same resources and number of ranks): starts them, feeds them, hears
them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cmpi._core.pool import machine
from cmpi._runtime.process import context
from cmpi.errors import ChannelClosed, CmpiError, PeerClosed, PeerExited
from cmpi.identifiers import ExitStatus, Pid, Resources
from cmpi.pool import shared, worker
from cmpi.pool.errors import PoolBroken, TaskKilled, WorkerDied
from cmpi.pool.handle import Submission, WorkerHandle
from cmpi.pool.shared import Hoisted, SharedBuffers
from cmpi.processes.process import kill, spawn, spawn_group

if TYPE_CHECKING:
    from cmpi.pool.answers import Answers
    from cmpi.pool.functions import Functions
    from cmpi.pool.future import PoolFuture

GONE = (PeerExited, PeerClosed, ChannelClosed)
START_S = 1.0  # between two looks whether a worker that waits for room is still wanted
END_S = 10.0  # for a process that has closed its channel to be gone


class WorkerGroup:
    """Carries out what the pool's machine decides. Thread-safe.

    Args:
        sizes: The least and the largest number of workers.
        resources: What each process of a worker needs.
        ranks: How many processes a worker has; with more than one they are one MPI world.
        setup: The initializer and its arguments.
        max_tasks: After so many tasks a worker is replaced.
        name: Of the pool, in the names of channels and processes.
        functions: The pool's.
        buffers: The pool's.
    """

    def __init__(
        self,
        sizes: tuple[int, int],
        resources: Resources | None,
        ranks: int,
        setup: tuple[Callable[..., object] | None, tuple[Any, ...]],
        max_tasks: int | None,
        name: str,
        functions: Functions,
        buffers: SharedBuffers,
    ) -> None:
        self.machine = machine.PoolMachine(*sizes, max_tasks)
        self.lock = threading.RLock()
        self.receiver: Answers
        self._resources, self._ranks, self._setup, self._name = resources, ranks, setup, name
        self._functions, self._buffers = functions, buffers
        self._present: dict[str, set[int]] = {}  # by host: the hoisted buffers that are there
        self._handles: dict[int, WorkerHandle] = {}
        self._submissions: dict[int, Submission] = {}
        self._last: tuple[Pid, ExitStatus] | None = None  # who ended last
        self._start_fault: BaseException | None = None
        self._starting: set[threading.Thread] = set()
        self._gone: list[Pid] = []  # processes that are about to end
        self.settled = threading.Condition(self.lock)
        self._failed: list[tuple[PoolFuture, BaseException]] = []  # to be told without the lock

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The lock; behind it, futures that have failed meanwhile call their callbacks."""
        with self.lock:
            yield
            failed, self._failed = self._failed, []
        for future, error in failed:
            future.set_exception(error)

    def begin(self) -> None:
        """Start the workers that there are at least. Blocks: never."""
        with self._turn():
            self._do(self.machine.begin())

    def submit(self, submission: Submission) -> None:
        """Take a task. Blocks: as `Sender.send` does, for a moment."""
        with self._turn():
            self._submissions[submission.future._number] = submission
            self._do(self._queued(submission, time.monotonic()))
        if submission.timeout_s is not None:
            self.receiver.wake()

    def _queued(self, submission: Submission, now_s: float) -> list[machine.Action]:
        return self.machine.submit(
            submission.future._number,
            now_s,
            kind=submission.function,
            nbytes=submission.packed.nbytes,
            retries=submission.retries,
            timeout_s=submission.timeout_s,
        )

    def cancel(self, number: int) -> bool:
        """Take back a task that no worker has."""
        with self._turn():
            if not self.machine.cancel(number):
                return False
            self._forget(number)
            self._do(self.machine.settled())
            return True

    def kill(self, number: int) -> None:
        """End a task wherever it is."""
        with self._turn():
            self._do(self.machine.kill(number))

    def resize(self, minimum: int, maximum: int) -> None:
        """Have another number of workers."""
        with self._turn():
            self._do(self.machine.resize(minimum, maximum, time.monotonic()))

    def tick(self) -> None:
        """Do what is due."""
        deadline_s, now_s = self.machine.deadline_s(), time.monotonic()
        if deadline_s is not None and deadline_s <= now_s:
            with self._turn():
                self._do(self.machine.tick(now_s))

    def close(self) -> None:
        """No task follows."""
        with self._turn():
            self._do(self.machine.close())

    def waiting(self) -> list[PoolFuture]:
        """The futures of the tasks that no worker has."""
        with self.lock:
            tasks = self.machine.tasks
            return [self._submissions[number].future for number in tasks if tasks[number].worker is None]

    def kill_all(self) -> None:
        """End every task."""
        with self._turn():
            for number in list(self._submissions):
                self._do(self.machine.kill(number))

    def join(self) -> None:
        """Blocks: until all tasks are over and all workers have ended."""
        with self.lock:
            self.settled.wait_for(lambda: not self._submissions and not self.machine.workers)
            gone, self._gone = self._gone, []
        for pid in gone:
            _exit_of(pid)
        for thread in list(self._starting):
            thread.join()

    # -- what workers say ----------------------------------------------------------------------

    def answered(self, handle: WorkerHandle, answer: tuple[Any, ...]) -> None:
        """A worker has answered."""
        kind = answer[0]
        now_s = time.monotonic()
        if kind == worker.UP:
            handle.host = answer[1]
            with self._turn():
                self._do(self.machine.worker_up(handle.number, now_s))
            return
        if kind == worker.HAS_BUFFER:
            with self.lock:
                self._present.setdefault(handle.host, set()).add(answer[1])
            return
        if kind == worker.START_FAILED:
            with self.lock:
                self._start_fault = worker.exception(*answer[1:])
            return  # its end follows
        _, number, elapsed_s, body, buffers, output = answer
        error = worker.exception(body, buffers) if kind == worker.ERROR else None
        with self._turn():
            actions = self.machine.result(handle.number, number, elapsed_s, now_s)
            submission = self._submissions.get(number)
            if submission is None:
                return  # the pool is broken
            again = submission.retries > 0 and isinstance(error, submission.retry_exceptions)
            if again:
                submission.retries -= 1
                actions += self._queued(submission, now_s)
            else:
                del self._submissions[number]
                self._release(submission)
            if actions:
                self._do(actions)
            if not self._submissions:
                self._do(self.machine.settled())
                self.settled.notify_all()
        if again:
            return
        future = submission.future
        if output:
            future._output = output
        if error is not None:
            future.set_exception(error)
            return
        try:
            value = shared.unpacked(body, buffers)
        except BaseException as failed:
            future.set_exception(failed)
        else:
            future.set_result(value)

    def ended(self, handle: WorkerHandle, error: CmpiError) -> None:
        """A worker has ended, or is about to."""
        status = self._status(handle, error)
        handle.tasks.close()
        with self._turn():
            self._handles.pop(handle.number, None)
            self._last = (handle.pids[0], status)
            if not handle.host and self._start_fault is None:
                self._start_fault = WorkerDied(*self._last, what="the initializer")
            self._do(self.machine.worker_ended(handle.number, time.monotonic()))
            self.settled.notify_all()

    def _status(self, handle: WorkerHandle, error: CmpiError) -> ExitStatus:
        """How a worker has ended. Blocks: for its end, if it left while it had tasks."""
        if isinstance(error, PeerExited):
            return error.status
        found = self.machine.workers.get(handle.number)
        if found is None or not found.tasks:
            return ExitStatus(0)
        try:
            return _exit_of(handle.pids[0], END_S)
        except TimeoutError:
            kill(handle.pids[0])
            return _exit_of(handle.pids[0])

    # -- carrying out --------------------------------------------------------------------------

    def _do(self, actions: list[machine.Action]) -> None:
        """Carry out actions. With the lock."""
        for action in actions:
            if isinstance(action, machine.Send):
                self._send(self._handles[action.worker], action.tasks)
            elif isinstance(action, machine.FailTask):
                self._fail(action)
            elif isinstance(action, machine.StartWorker):
                self._start(action.worker)
            elif isinstance(action, machine.RetireWorker):
                handle = self._handles.get(action.worker)
                if handle is not None:
                    self._gone += handle.pids
                    handle.tasks.close()
            elif isinstance(action, machine.KillWorker):
                handle = self._handles.get(action.worker)
                if handle is not None:
                    kill(handle.pids[0])
            else:
                self._broken()

    def _send(self, handle: WorkerHandle, tasks: tuple[int, ...]) -> None:
        send = handle.send
        try:
            while self._buffers.dropped:
                self._drop(self._buffers.dropped.popleft())
            for number in tasks:
                submission = self._submissions[number]
                function = submission.function
                if not submission.future.running():
                    submission.future.set_running_or_notify_cancel()
                if function not in handle.functions:
                    body = self._functions.body(function)
                    self._provide(handle, body.needs())
                    handle.functions.add(function)
                    send(worker.FUNCTION, function, 0, *body.sent())
                packed = submission.packed
                if packed.buffers or packed.shares:
                    self._provide(handle, packed.needs())
                send(submission.kind, number, function, *packed.sent())
        except GONE:
            return  # it has ended, which the receiving side will notice

    def _provide(self, handle: WorkerHandle, buffers: list[Hoisted]) -> None:
        """Send a worker the hoisted buffers that its host has not, before a task that needs them."""
        for buffer in buffers:
            if buffer.number in handle.buffers:
                continue
            handle.buffers.add(buffer.number)
            here = handle.host == self._buffers.host
            if not here and buffer.number not in self._present.get(handle.host, ()):
                handle.send(worker.BUFFER, buffer.number, 0, b"", [buffer.memory])

    def _drop(self, buffer: int) -> None:
        """Nobody needs this hoisted buffer any more."""
        self._have_dropped(worker.DROP, buffer, lambda handle: handle.buffers)

    def _have_dropped(self, kind: int, number: int, held: Callable[[WorkerHandle], set[int]]) -> None:
        """Tell the workers that hold something to let go of it."""
        for handle in self._handles.values():
            if number in held(handle):
                held(handle).discard(number)
                try:
                    handle.send(kind, number, 0, b"", [])
                except GONE:
                    continue  # it has ended

    def _fail(self, action: machine.FailTask) -> None:
        submission = self._submissions.pop(action.task)
        self._release(submission)
        error: BaseException
        if self.machine.broken:
            error = self._broken_error()
        elif action.late:
            error = TimeoutError(f"{submission.label} ran longer than its timeout; its worker was ended")
        elif action.killed:
            error = TaskKilled(f"{submission.label} was ended by kill()")
        else:
            assert self._last is not None
            error = WorkerDied(*self._last, action.deaths, submission.label)
        future = submission.future
        if not future.running():
            future.set_running_or_notify_cancel()
        self._failed.append((future, error))
        self._do(self.machine.settled())
        self.settled.notify_all()

    def _release(self, submission: Submission) -> None:
        for function in self._functions.release(submission.function):
            self._have_dropped(worker.FORGET, function, lambda handle: handle.functions)

    def _forget(self, number: int) -> None:
        self._release(self._submissions.pop(number))
        self.settled.notify_all()

    def _broken_error(self) -> PoolBroken:
        error = PoolBroken("no worker of the pool could be started, three times in a row")
        error.__cause__ = self._start_fault
        return error

    def _broken(self) -> None:
        self.settled.notify_all()

    # -- starting ------------------------------------------------------------------------------

    def _start(self, number: int) -> None:
        thread = threading.Thread(
            target=self._start_worker, args=(number,), name="cmpi-pool-start", daemon=True
        )
        self._starting.add(thread)
        thread.start()

    def _start_worker(self, number: int) -> None:
        name = f"{self._name}-{number}"
        try:
            handle = self._spawned(number, name)
        except BaseException as error:
            with self._turn():
                self._start_fault = error
                self._do(self.machine.start_failed(number))
                self.settled.notify_all()
            return
        finally:
            self._starting.discard(threading.current_thread())
        if handle is None:
            return
        with self.lock:
            found = self.machine.workers.get(number)
            if found is None or found.retiring:
                handle.tasks.close()
                self._gone += handle.pids
            if found is not None:
                self._handles[number] = handle
                self.receiver.add(handle)

    def _spawned(self, number: int, name: str) -> WorkerHandle | None:
        """A new worker; None if it is not wanted any more before there was room for it."""
        setup = (name, self._buffers.name, *self._setup)
        while True:
            try:
                needs, label = self._resources, f"worker {number}"
                if self._ranks == 1:
                    pids = [spawn(worker.work, *setup, resources=needs, timeout=START_S, name=label)]
                else:
                    as_rank = worker.work_as_rank
                    pids = spawn_group(
                        self._ranks, as_rank, *setup, resources=needs, timeout=START_S, name=label
                    )
                return WorkerHandle(self, number, pids, name)
            except TimeoutError:
                with self.lock:
                    found = self.machine.workers.get(number)
                    if found is None or found.retiring:
                        self.machine.worker_ended(number, time.monotonic())
                        self.settled.notify_all()
                        return None


def _exit_of(pid: Pid, timeout_s: float | None = None) -> ExitStatus:
    """As `cmpi.wait`, which would refuse to block an event loop; an executor's shutdown does so
    everywhere."""
    return context.current().exits.wait_exit(pid, timeout_s)
