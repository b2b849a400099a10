"""Functions as batch jobs on Slurm: `job = cmpi.slurm.submit(f, x, time="10:00")`, then `job.result()`.

It works like submitit. The job itself is run by `cmpirun --slurm`, so it may spawn processes, and its
output and script are in `.cmpi/`, like those of any other job.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import time as clock
from typing import TYPE_CHECKING, Any

import cloudpickle

from cmpi._core.slurm import keyword_options
from cmpi._runtime import programs
from cmpi._runtime.linux.own_file import open_own
from cmpi._runtime.slurm_poller import POLLER
from cmpi.errors import CmpiError, LaunchError, UsageError
from cmpi.processes import command_line

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

FOLDER = ".cmpi"
LOOK_S = 0.1  # between looks for a result
LATE_S = 5.0  # how late a result may appear after the job's end, on a shared file system


class BatchJobFailed(CmpiError):
    """A batch job ended without a result: Slurm ended it, or it got a signal, or it called exit.

    Attributes:
        status: Slurm's name for its state, such as "TIMEOUT".
    """

    def __init__(self, text: str, status: str) -> None:
        super().__init__(text)
        self.status = status


class SlurmJob:
    """A batch job that runs a function. It is awaitable: `await job` returns its result.

    Attributes:
        id: Slurm's number of the job.
    """

    def __init__(self, id: str, call: str, tasks: int, folder: str) -> None:
        self.id, self._call, self._tasks, self._folder = id, call, tasks, folder

    def __repr__(self) -> str:
        return f"<cmpi.slurm.Job {self.id}>"

    @property
    def status(self) -> str:
        """Slurm's name for the job's state: "PENDING", "RUNNING", "COMPLETED", "FAILED", "TIMEOUT"...

        Blocks: for Slurm's answer.
        """
        words = _cmpirun(self._folder, "--status", self.id).split()
        return words[1] if len(words) > 1 else "UNKNOWN"

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the job and return the function's value (in the first task, if there are several).

        Raises:
            TimeoutError: The job has not ended after `timeout` seconds.
            BatchJobFailed: It ended without a result.
            Exception: What the function raised; a note has the traceback from there.

        Blocks: until the job has ended.
        """
        return self._results(1, timeout)[0]

    def results(self, timeout: float | None = None) -> list[Any]:
        """Return the function's value in each task, by rank. Otherwise as `result`."""
        return self._results(self._tasks, timeout)

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.to_thread(self.result).__await__()

    def stdout(self) -> str:
        """The job's output so far; "" before it begins."""
        return self._text("out")

    def stderr(self) -> str:
        """The job's stderr so far; "" before it begins."""
        return self._text("err")

    def cancel(self) -> None:
        """Cancel the job. Blocks: for Slurm's answer."""
        _cmpirun(self._folder, "--cancel", self.id)

    def _text(self, end: str) -> str:
        try:
            with open(f"{self._folder}/{FOLDER}/{self.id}.{end}", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def _results(self, n: int, timeout: float | None) -> list[Any]:
        POLLER.wait_for(self.id)
        try:
            return self._await_results(n, timeout)
        finally:
            POLLER.forget(self.id)

    def _await_results(self, n: int, timeout: float | None) -> list[Any]:
        end_s = None if timeout is None else clock.monotonic() + timeout
        ended_s, status = None, ""
        while True:
            outcomes = [self._outcome(rank) for rank in range(n)]
            failed = next((error for outcome in outcomes if outcome for error in outcome[1:]), None)
            if failed is not None:
                raise failed
            if all(outcomes):
                return [outcome[0] for outcome in outcomes if outcome]
            now_s = clock.monotonic()
            if ended_s is not None and now_s >= ended_s + LATE_S:
                last = self.stderr().strip().splitlines()[-12:]
                raise BatchJobFailed(
                    "\n".join([f"job {self.id} ended without a result: {status}", *last]), status
                )
            if end_s is not None and now_s >= end_s:
                raise TimeoutError(f"job {self.id} has not ended within {timeout} s")
            state = POLLER.state(self.id) if ended_s is None else None
            if state is not None and state.name == "UNKNOWN":  # Slurm forgets a job some time after its end
                ended_s, status = clock.monotonic(), self.status
            elif state is not None and state.ended:
                ended_s, status = clock.monotonic(), state.name
            clock.sleep(LOOK_S)

    def _outcome(self, rank: int) -> tuple[Any] | tuple[Any, BaseException] | None:
        """A task's outcome: (value,) or (None, exception); None if there is none yet."""
        try:
            with open_own(f"{self._call}.{rank}") as file:
                outcome: tuple[Any] | tuple[Any, BaseException] = pickle.load(file)
                return outcome
        except FileNotFoundError:
            return None


def restarts() -> int:
    """Return how often Slurm has started the job of this process again; 0 at first, and outside of Slurm.

    Blocks: never. Source: sbatch(1), SLURM_RESTART_COUNT.
    """
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def submit(
    f: Callable[..., Any],
    *args: Any,
    nodes: int = 1,
    tasks: int = 1,
    time: str = "",
    partition: str = "",
    account: str = "",
    mem_per_cpu: str = "",
    gpus_per_node: str | int = "",
    constraint: str = "",
    name: str = "",
    after: SlurmJob | Iterable[SlurmJob] = (),
    setup: Iterable[str] = (),
    requeue_before: float = 0,
    slurm_args: str = "",
) -> SlurmJob:
    """Submit a Slurm job that runs `f(*args)` in each of `tasks` ranks of one MPI world.

    Args:
        f: A function, lambda or closure; it is sent by value, with what it captures.
        args: Its arguments.
        nodes: The number of nodes.
        tasks: The number of ranks.
        time: The time limit, in sbatch's format: "10:00", "2-12:00:00". "": the partition's.
        partition: The partition to run in. "": Slurm's default.
        account: The account to charge. "": Slurm's default.
        mem_per_cpu: Memory for each rank, in sbatch's format: "500M". "": the partition's.
        gpus_per_node: GPUs, in sbatch's format: 2, "a100:2". "": none.
        constraint: Required node features, in sbatch's format. "": any.
        name: The name in the queue. "": the function's name.
        after: Jobs that must succeed first. If one of them fails, this job is cancelled.
        setup: Script lines to run before the function, such as "module load gcc".
        requeue_before: So many seconds before the time limit, `f` gets SIGTERM, to save its state and
            call `sys.exit`, and the job is queued again: `f` is called anew, with `restarts()` above 0. 0:
            never.
        slurm_args: Further options for sbatch, as in a shell.

    Raises:
        UsageError: `nodes` or `tasks` is below 1.
        LaunchError: Slurm is not installed here, or it refuses the job; the message is Slurm's.
        PicklingError: Something in `f` or `args` cannot be sent.

    Blocks: for sbatch's answer. Source: submitit's `AutoExecutor.submit`.
    """
    options = {**locals()}
    call, id = _submit(options.pop("f"), [options.pop("args")], "", options)
    return SlurmJob(id, call, tasks, os.getcwd())


def map_array(
    f: Callable[..., Any], *iterables: Iterable[Any], at_once: int = 0, **options: Any
) -> list[SlurmJob]:
    """Submit one Slurm job array that runs `f` on each element, like `map`.

    Args:
        f: A function, lambda or closure.
        iterables: Its arguments, as for `map`.
        at_once: The most tasks that run at the same time. 0: no limit.
        options: As for `submit`, for each task of the array.

    Returns: A job for each element, in order.

    Raises:
        UsageError: There are no elements, or a number is too small.
        LaunchError: As `submit`.
        PicklingError: As `submit`.

    Blocks: for sbatch's answer. Source: submitit's `AutoExecutor.map_array`.
    """
    elements = list(zip(*iterables))
    if not elements or at_once < 0:
        raise UsageError(
            f"map_array needs at least 1 element and at_once >= 0; found {len(elements)} and {at_once}"
        )
    limit = f"%{at_once}" if at_once else ""
    call, id = _submit(f, elements, f"0-{len(elements) - 1}{limit}", options)
    tasks = options.get("tasks", 1)
    return [SlurmJob(f"{id}_{i}", f"{call}.{i}", tasks, os.getcwd()) for i in range(len(elements))]


def _submit(
    f: Callable[..., Any], calls: list[tuple[Any, ...]], array: str, options: dict[str, Any]
) -> tuple[str, str]:
    """Write the function and its calls to a file, and submit a job; returns the file and Slurm's number."""
    if complaint := keyword_options.unknown(options):
        raise TypeError(complaint)
    options["name"] = options.get("name") or getattr(f, "__name__", "")
    ours = {"detach": True, "output": "plain", "array": array or None}
    arguments = command_line.as_arguments(keyword_options.for_cmpirun(options) | ours)
    folder = os.getcwd()
    os.makedirs(FOLDER, exist_ok=True)
    call = f"{folder}/{FOLDER}/call-{os.urandom(6).hex()}"
    data = cloudpickle.dumps((f, calls, sys.path))
    with open(os.open(call, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    program = [sys.executable, *programs.isolated(programs.SLURM_TASK, call, *(["array"] if array else []))]
    try:
        return call, _cmpirun(folder, *arguments, *program).strip()
    except BaseException:
        os.unlink(call)
        raise


def _cmpirun(folder: str, *arguments: str) -> str:
    """Run cmpirun and return its output. Raises: LaunchError: It failed; the message is its stderr."""
    command = [sys.executable, *programs.isolated(programs.CMPIRUN), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LaunchError(done.stderr.strip().removeprefix("cmpirun: "))
    return done.stdout
