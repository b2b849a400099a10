"""The workers of one kind (with the same resources and number of ranks) and their tasks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cmpi._core.pool import actions
from cmpi._core.pool.machine import PoolMachine
from cmpi._runtime.process import context
from cmpi._runtime.process.condition import UncutCondition
from cmpi._runtime.process.signal_guard import uncut
from cmpi.errors import CmpiError, PeerExited
from cmpi.identifiers import ExitStatus, Pid, Resources
from cmpi.pool import shared, worker
from cmpi.pool.claims import MOST_RECALLED, Recalls
from cmpi.pool.errors import PoolBroken, TaskKilled, WorkerDied
from cmpi.pool.feeder import Feeder
from cmpi.pool.handle import Submission, WorkerHandle
from cmpi.pool.starter import Starter
from cmpi.processes.process import kill

if TYPE_CHECKING:
    from cmpi.pool.answers import Answers
    from cmpi.pool.functions import Functions
    from cmpi.pool.future import PoolFuture
    from cmpi.pool.shared import SharedBuffers

END_S = 10.0  # for a process to end after it has closed its channel


class WorkerGroup:
    """Carries out the decisions of the pool's state machine. Thread-safe.

    Args:
        sizes: The least and the largest number of workers.
        resources: What each process of a worker needs.
        ranks: How many processes a worker has; with more than one they are one MPI world.
        setup: The initializer and its arguments.
        max_tasks: After this many tasks a worker is replaced.
        name: The group's name, used in the names of channels and processes.
        functions: The pool's functions.
        buffers: The pool's hoisted buffers.
        receiver: Receives the workers' answers.
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
        receiver: Answers,
    ) -> None:
        self.machine = PoolMachine(*sizes, max_tasks)
        self.receiver = receiver
        self._lock = self._settled = UncutCondition()
        self._buffers = buffers
        self._feeder = Feeder(functions, buffers)
        self._starter = Starter(self, resources, ranks, setup, name, buffers.name)
        self._submissions: dict[int, Submission] = {}
        self._last: tuple[Pid, ExitStatus] | None = None  # the worker that ended last
        self._start_fault: BaseException | None = None
        self._gone: list[Pid] = []  # processes that are about to end
        self._failed: list[tuple[PoolFuture, BaseException]] = []  # futures to fail, without the lock

    # -- tasks ---------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> None:
        """Take a task. With `uncut`. Blocks: as `Sender.send` does, for a moment."""
        with self._lock:
            self._submissions[submission.number] = submission
            self._do(self._queued(submission, time.monotonic()))
        if self._failed:
            self._tell_failed()
        if submission.timeout_s is not None:
            self.receiver.wake()

    def _queued(self, submission: Submission, now_s: float) -> list[actions.Action]:
        return self.machine.submit(
            submission.number,
            now_s,
            kind=submission.function,
            nbytes=submission.packed.nbytes,
            retries=submission.retries,
            timeout_s=submission.timeout_s,
        )

    def cancel(self, number: int) -> bool:
        """Take back a task if no worker has had it; returns whether that worked.

        A task that waits to be tried again is not taken back: its future is running, and a running future
        cannot be cancelled.
        """
        with self._lock:
            submission = self._submissions.get(number)
            if submission is None or submission.future.running() or not self.machine.cancel(number):
                return False
            self._feeder.release(self._submissions.pop(number).function)
            self._do(self.machine.settled())
            self._settled.notify_all()
            return True

    def kill(self, number: int) -> None:
        """End a task wherever it is."""
        with uncut:
            with self._lock:
                self._do(self.machine.kill(number))
            self._tell_failed()

    def waiting(self) -> list[PoolFuture]:
        """The futures of the tasks that no worker has."""
        with self._lock:
            tasks = self.machine.tasks
            return [self._submissions[number].future for number in tasks if tasks[number].worker is None]

    # -- the group -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the least number of workers. Blocks: never."""
        with self._lock:
            self._do(self.machine.begin())

    def resize(self, minimum: int, maximum: int) -> None:
        """Change the number of workers."""
        with self._lock:
            self._do(self.machine.resize(minimum, maximum, time.monotonic()))

    def tick(self) -> None:
        """Do what is due."""
        deadline_s, now_s = self.machine.deadline_s(), time.monotonic()
        if deadline_s is not None and deadline_s <= now_s:
            with self._lock:
                self._do(self.machine.tick(now_s))
            self._tell_failed()

    def close(self) -> None:
        """Accept no more tasks."""
        with self._lock:
            self._do(self.machine.close())

    def kill_all(self) -> None:
        """End every task."""
        with uncut:
            with self._lock:
                for number in list(self._submissions):
                    self._do(self.machine.kill(number))
            self._tell_failed()

    def join(self) -> None:
        """Wait until all tasks are finished and all workers have ended."""
        with self._lock:
            self._settled.wait_for(lambda: not self._submissions and not self.machine.workers)
            gone, self._gone = self._gone, []
        for pid in gone:
            _exit_of(pid)
        self._starter.join()

    # -- answers of workers --------------------------------------------------------------------

    def answered(self, handle: WorkerHandle, answers: list[Any]) -> None:
        """A worker has answered."""
        now_s = time.monotonic()
        results = []
        for answer in answers:
            if answer[0] in (worker.VALUE, worker.ERROR):
                results.append(answer)
                continue
            if results:
                self._results(handle, results, now_s)
                results = []
            self._said(handle, answer, now_s)
        if results:
            self._results(handle, results, now_s)

    def _said(self, handle: WorkerHandle, answer: tuple[Any, ...], now_s: float) -> None:
        with self._lock:
            if answer[0] == worker.UP:
                handle.host = answer[1]
                handle.recalls = self._recalls(handle.name) if answer[2] else None
                recallable = handle.recalls is not None
                self._do(self.machine.worker_up(handle.number, now_s, recallable=recallable))
            elif answer[0] == worker.LEFT_OUT:
                self._do(self.machine.left_out(handle.number, answer[1], now_s))
            elif answer[0] == worker.HAS_BUFFER:
                self._feeder.has_buffer(handle, answer[1])
            else:
                self._start_fault = worker.exception(*answer[1:])  # the worker will end now
        self._tell_failed()

    def _recalls(self, name: str) -> Recalls | None:
        try:
            return Recalls(shared.path_of(self._buffers.folder, self._buffers.name, name))
        except OSError:
            return None  # the worker is on another host

    def _results(self, handle: WorkerHandle, answers: list[tuple[Any, ...]], now_s: float) -> None:
        faults = {
            answer[1]: worker.exception(answer[3], answer[4])
            for answer in answers
            if answer[0] == worker.ERROR
        }
        over: list[tuple[Submission, tuple[Any, ...]]] = []
        with self._lock:
            again = []
            for answer in answers:
                submission = self._submissions.get(answer[1])
                if submission is None:
                    continue  # the pool is broken
                if submission.retries > 0 and isinstance(
                    faults.get(answer[1]), submission.retry_exceptions
                ):
                    submission.retries -= 1
                    again.append(submission)
                    continue
                del self._submissions[answer[1]]
                self._feeder.release(submission.function)
                over.append((submission, answer))
            self._do(self.machine.results(handle.number, [(it[1], it[2]) for it in answers], now_s))
            for submission in again:
                self._do(self._queued(submission, now_s))
            if not self._submissions:
                self._do(self.machine.settled())
                self._settled.notify_all()
        for submission, (_, number, _, body, buffers, output) in over:
            future = submission.future
            if output:
                future._output = output
            if buffers:
                future._nbytes = sum(memoryview(each).nbytes for each in buffers)
            fault = faults.get(number)
            if fault is not None:
                future.set_exception(fault)
                continue
            try:
                value = shared.unpacked(body, buffers)
            except BaseException as failed:
                future.set_exception(failed)
            else:
                future.set_result(value)

    def ended(self, handle: WorkerHandle, error: CmpiError) -> None:
        """Handle the end of a worker, which may still be about to end."""
        status = self._status(handle, error)
        handle.tasks.close()
        with self._lock:
            self._feeder.ended(handle)
            self._last = (handle.pids[0], status)
            if not handle.host and self._start_fault is None:
                self._start_fault = WorkerDied(*self._last, what="the initializer")
            self._do(self.machine.worker_ended(handle.number, time.monotonic(), self._stop(handle)))
            self._settled.notify_all()
        self._tell_failed()

    def _stop(self, handle: WorkerHandle) -> int:
        """Have a worker that counts as ended begin no other task: it may still run for a moment, if its
        monitor was killed. Returns the number of the last task that it has begun; 0 if unknown."""
        first = self.machine.first_unanswered(handle.number)
        if handle.recalls is None or first is None:
            return 0
        return handle.recalls.recall(first, MOST_RECALLED)

    def _status(self, handle: WorkerHandle, error: CmpiError) -> ExitStatus:
        """Return a worker's exit status. Blocks: until it ends, if it left while it had tasks."""
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

    # -- results of starts ---------------------------------------------------------------------

    def started(self, number: int, pids: list[Pid], name: str) -> None:
        """A worker has started, with these processes and channels of this name."""
        handle = WorkerHandle(self, number, pids, name)
        with self._lock:
            found = self.machine.workers.get(number)
            if found is None or found.retiring:
                handle.tasks.close()
                self._gone += handle.pids
            if found is not None:
                self._feeder.handles[number] = handle
                self.receiver.add(handle)

    def start_failed(self, number: int, error: BaseException) -> None:
        """A worker could not be started."""
        with self._lock:
            self._start_fault = error
            self._do(self.machine.start_failed(number))
            self._settled.notify_all()
        self._tell_failed()

    def wanted(self, number: int) -> bool:
        """Whether to go on waiting for room for a worker; otherwise it counts as ended."""
        with self._lock:
            found = self.machine.workers.get(number)
            if found is not None and not found.retiring:
                return True
            self._do(self.machine.worker_ended(number, time.monotonic()))
            self._settled.notify_all()
            return False

    # -- carrying out --------------------------------------------------------------------------

    def _do(self, todo: list[actions.Action]) -> None:
        """Carry out the machine's actions. Called with the lock; call `_tell_failed` afterwards, without
        it."""
        for action in todo:
            if isinstance(action, actions.Send):
                self._send(action)
            elif isinstance(action, actions.FailTask):
                self._fail(action)
            elif isinstance(action, actions.StartWorker):
                self._starter.start(action.worker)
            elif isinstance(action, actions.RetireWorker):
                handle = self._feeder.handles.get(action.worker)
                if handle is not None:
                    self._gone += handle.pids
                    handle.tasks.close()
            elif isinstance(action, actions.KillWorker):
                handle = self._feeder.handles.get(action.worker)
                if handle is not None:
                    kill(handle.pids[0])
            elif isinstance(action, actions.Recall):
                recalls = self._feeder.handles[action.worker].recalls
                assert recalls is not None
                begun = recalls.recall(action.first, action.count)
                self._do(self.machine.recalled(action.worker, begun, time.monotonic()))
            else:
                self._settled.notify_all()

    def _send(self, action: actions.Send) -> None:
        submissions = [self._submissions[number] for number in action.tasks]
        for submission in submissions:
            if not submission.begun:
                submission.begun = True
                submission.future.set_running_or_notify_cancel()
        self._feeder.send(self._feeder.handles[action.worker], submissions)

    def _fail(self, action: actions.FailTask) -> None:
        submission = self._submissions.pop(action.task)
        self._feeder.release(submission.function)
        error: BaseException
        if self.machine.broken:
            error = PoolBroken("no worker of the pool could be started, three times in a row")
            error.__cause__ = self._start_fault
        elif action.late:
            error = TimeoutError(f"{submission.label} ran longer than its timeout; its worker was ended")
        elif action.killed:
            error = TaskKilled(f"{submission.label} was ended by kill()")
        else:
            assert self._last is not None
            error = WorkerDied(*self._last, action.deaths, submission.label)
        if not submission.begun:
            submission.begun = True
            submission.future.set_running_or_notify_cancel()
        self._failed.append((submission.future, error))
        self._do(self.machine.settled())
        self._settled.notify_all()

    def _tell_failed(self) -> None:
        """Fail futures. Called without the lock, because futures call their callbacks."""
        with self._lock:
            failed, self._failed = self._failed, []
        for future, error in failed:
            future.set_exception(error)


def _exit_of(pid: Pid, timeout_s: float | None = None) -> ExitStatus:
    """As `cmpi.wait`, but usable in an event loop, because an executor's shutdown must be."""
    return context.current().exits.wait_exit(pid, timeout_s)
