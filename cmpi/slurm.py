"""Functions as batch jobs on Slurm: `job = cmpi.slurm.submit(f, x, time="10:00")`, then `job.result()`.

As with submitit, whose users will find what they expect; the job itself is one of `cmpirun --slurm`,
so it may spawn, and its output and script lie in `.cmpi/` like those of any other.
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

from cmpi._runtime import programs
from cmpi.errors import CmpiError, LaunchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

FOLDER = ".cmpi"
POLL_S = 1.0  # between questions to Slurm
LOOK_S = 0.1  # between looks for a result
LATE_S = 5.0  # for a result to show up behind the job's end, on a shared file system
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED",
         "DEADLINE", "BOOT_FAIL")  # fmt: skip


class JobFailed(CmpiError):
    """The batch job ended without a result: by Slurm, a signal, an exit.

    Attributes:
        status: Slurm's word for how, such as "TIMEOUT".
    """

    def __init__(self, text: str, status: str) -> None:
        super().__init__(text)
        self.status = status


class SlurmJob:
    """A batch job that runs a function. Awaitable: `await job` is its result.

    Attributes:
        id: Slurm's number of it.
    """

    def __init__(self, id: str, call: str, tasks: int, folder: str) -> None:
        self.id, self._call, self._tasks, self._folder = id, call, tasks, folder

    def __repr__(self) -> str:
        return f"<cmpi.slurm.Job {self.id}>"

    @property
    def status(self) -> str:
        """Slurm's word for what has become of it: "PENDING", "RUNNING", "COMPLETED", "FAILED", "TIMEOUT"...

        Blocks: for Slurm's answer.
        """
        words = _cmpirun(self._folder, "--status", self.id).split()
        return words[1] if len(words) > 1 else "UNKNOWN"

    def result(self, timeout: float | None = None) -> Any:
        """What the function returned (in the first task, where there are several).

        Raises:
            TimeoutError: The job goes on after so many seconds.
            JobFailed: It ended without a result.
            Exception: Whatever the function raised; a note has the traceback from there.

        Blocks: until then.
        """
        return self._results(1, timeout)[0]

    def results(self, timeout: float | None = None) -> list[Any]:
        """What the function returned in each task, by rank. Otherwise as `result`."""
        return self._results(self._tasks, timeout)

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.to_thread(self.result).__await__()

    def stdout(self) -> str:
        """What it has written so far; "" before it begins."""
        return self._text("out")

    def stderr(self) -> str:
        """Likewise to stderr."""
        return self._text("err")

    def cancel(self) -> None:
        """End it. Blocks: for Slurm's answer."""
        _cmpirun(self._folder, "--cancel", self.id)

    def _text(self, end: str) -> str:
        try:
            with open(f"{self._folder}/{FOLDER}/{self.id}.{end}", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def _results(self, n: int, timeout: float | None) -> list[Any]:
        end_s = None if timeout is None else clock.monotonic() + timeout
        due_s = clock.monotonic()
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
                raise JobFailed(
                    "\n".join([f"job {self.id} ended without a result: {status}", *last]), status
                )
            if end_s is not None and now_s >= end_s:
                raise TimeoutError(f"job {self.id} has not ended within {timeout} s")
            if ended_s is None and now_s >= due_s:
                due_s = now_s + POLL_S
                status = self.status
                ended_s = clock.monotonic() if status in ENDED else None
            clock.sleep(LOOK_S)

    def _outcome(self, rank: int) -> tuple[Any] | tuple[Any, BaseException] | None:
        """A task's (value,) or (None, exception); None while there is neither."""
        try:
            with open(f"{self._call}.{rank}", "rb") as file:
                outcome: tuple[Any] | tuple[Any, BaseException] = pickle.load(file)
                return outcome
        except FileNotFoundError:
            return None


def submit(
    f: Callable[..., Any],
    *args: Any,
    nodes: int = 1,
    tasks: int = 1,
    time: str = "",
    partition: str = "",
    account: str = "",
    mem_per_cpu: str = "",
    slurm_args: str = "",
) -> SlurmJob:
    """Have Slurm run `f(*args)`, in each of `tasks` ranks of one MPI world.

    Args:
        f: A function, lambda or closure; it and what it captures travel by value.
        args: Its arguments.
        nodes: How many nodes to spread them over.
        tasks: How many ranks.
        time: The limit, as sbatch reads it: "10:00", "2-12:00:00". "": the partition's.
        partition: Where to run. "": Slurm's default.
        account: Who pays. "": Slurm's default.
        mem_per_cpu: For each, as sbatch reads it: "500M". "": the partition's.
        slurm_args: More options for sbatch, as in a shell.

    Raises:
        UsageError: A number of nodes or tasks below 1.
        LaunchError: There is no Slurm here, or it refuses the job; the message is its own.
        PicklingError: Something in `f` or `args` cannot travel.

    Blocks: for sbatch's answer. Source: submitit's `AutoExecutor.submit`.
    """
    if nodes < 1 or tasks < 1:
        raise UsageError(f"nodes and tasks are 1 or more; found {nodes} and {tasks}")
    folder = os.getcwd()
    os.makedirs(FOLDER, exist_ok=True)
    call = f"{folder}/{FOLDER}/call-{os.urandom(6).hex()}"
    data = cloudpickle.dumps((f, args, sys.path))
    with open(os.open(call, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    wishes = {"--time": time, "--partition": partition, "--account": account, "--mem-per-cpu": mem_per_cpu}
    wishes["--slurm-args"] = slurm_args
    options = [f"{name}={value}" for name, value in wishes.items() if value]
    options += ["-N", str(nodes), "-n", str(tasks), "--output", "plain"]
    try:
        id = _cmpirun(
            folder,
            "--slurm",
            "--detach",
            *options,
            sys.executable,
            *programs.isolated(programs.SLURM_TASK, call),
        )
    except BaseException:
        os.unlink(call)
        raise
    return SlurmJob(id.strip(), call, tasks, folder)


def _cmpirun(folder: str, *arguments: str) -> str:
    """What cmpirun prints. Raises: LaunchError, with what it complains of."""
    command = [sys.executable, *programs.isolated(programs.CMPIRUN), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LaunchError(done.stderr.strip().removeprefix("cmpirun: "))
    return done.stdout
