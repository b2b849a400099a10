"""`Job`: a job that this process joins as a guest, though cmpirun has not started it."""

from __future__ import annotations

import atexit
import codecs
import os
import subprocess
import sys
import threading
from types import TracebackType
from typing import Any, TextIO

from cmpi._base.frozen import frozen
from cmpi._core.protocol import process_root
from cmpi._runtime.linux import job_folders
from cmpi._runtime.process import context
from cmpi.errors import JobFailed, LaunchError, NotRunning, UsageError
from cmpi.identifiers import ExitStatus, Pid
from cmpi.processes import command_line

_NOT_HERE = ("serve", "name", "n", "slurm", "doctor", "version", "dry_run", "add_host", "jobs", "stop")


@frozen
class Failure:
    """A process that failed, and with whose end no process of the job has dealt.

    Attributes:
        pid: The process.
        name: What people call it.
        status: How it ended.
    """

    pid: Pid
    name: str
    status: ExitStatus

    def __str__(self) -> str:
        return f"{self.name} · {self.pid}: {self.status}"


class Job:
    """A job of this process's own: it starts in the background, and this process joins it as a guest.

    For a process that cmpirun has not started: an interactive session, a notebook, a test run, a server. A
    guest spawns, sends, receives, waits and uses pools as any process of the job.

    Args:
        stdout: Where to write what the job's processes write to theirs. None: to `sys.stdout`, and what
            they write to stderr to `sys.stderr`, whatever these are at the time.
        options: Options of cmpirun: `cpus=4` is `--cpus 4`, `verbose=True` is `--verbose`; a list gives an
            option several times. `output` is "plain" if not given.

    Raises:
        UsageError: This process is part of a job already, or an option makes no sense here.
        LaunchError: The job cannot be started; what cmpirun says is on stderr.

    Use it as a context manager: at the end of the block the job ends, as by `close`, and `JobFailed` is
    raised if processes have failed and nobody has dealt with that. Without a block it ends with this
    process, even if that is killed.

    Blocks: until the job is there, about a third of a second. Source: ours.
    """

    def __init__(self, *, stdout: TextIO | None = None, **options: Any) -> None:
        wrong = [name for name in options if name in _NOT_HERE]
        if wrong:
            raise UsageError(
                f"a job for a guest takes no option {wrong[0]!r}: it runs no program of its own"
            )
        if context.in_job():
            raise UsageError("this process is part of a job already, and can be in one at a time")
        self._cmpirun: _Cmpirun | None = _Cmpirun(stdout, {"output": "plain"} | options)
        try:
            self._join(self._cmpirun.folder)
        except BaseException:
            self._cmpirun.end()
            raise

    @classmethod
    def attach(cls, name: str) -> Job:
        """Join a job of this user's that runs on this host, whoever has started it.

        Args:
            name: The job's (`cmpirun --name`), or its folder.

        Raises:
            LaunchError: There is no such job, or there are several.
            UsageError: This process is part of a job already.
            NotRunning: The job takes in nobody any more.

        The job goes on when this process leaves; what this process has spawned ends then.

        Blocks: until the process has joined. Source: ours.
        """
        if context.in_job():
            raise UsageError("this process is part of a job already, and can be in one at a time")
        folder = job_folders.the_one(name)
        job = cls.__new__(cls)
        job._cmpirun = None
        job._join(folder)
        return job

    def _join(self, folder: str) -> None:
        self.name = job_folders.name(folder)
        self._node = context.join_as_guest(folder)
        self._owner = os.getpid()
        atexit.register(self.close)

    @property
    def failures(self) -> list[Failure]:
        """The processes that this one, or what it has spawned, has spawned, and that failed; without those
        with whose ends a process has dealt. In the order in which they ended.

        Raises: NotRunning: The job has ended.

        Blocks: for the root's answer.
        """
        if context.joined() is not self._node:
            raise NotRunning(f"this process has left the job {self.name}")
        answer = self._node.root.ask(process_root.AskFailures)
        statuses = map(ExitStatus, answer.codes, answer.signals, answer.verdicts)
        return list(map(Failure, map(Pid, answer.pids), answer.names, statuses))

    def close(self) -> None:
        """Leave the job; what this process has spawned in it ends. So does the job, if this process has
        started it. A second call does nothing.

        Blocks: until all that was sent is delivered, and a job of this process's own has ended.
        """
        if os.getpid() != self._owner:
            return  # forked from the guest
        atexit.unregister(self.close)
        context.leave_as_guest(self._node)
        if self._cmpirun is not None:
            self._cmpirun.wait()

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failures: list[Failure] = []
        try:
            if error is not None:
                self._node.failed_by(error)  # peers learn that, instead of an orderly close
            elif context.joined() is self._node:
                failures = self.failures
        except NotRunning:
            pass  # the job has ended, and it has said why
        finally:
            self.close()
        if failures:
            raise JobFailed(self.name, failures)

    def __repr__(self) -> str:
        if context.joined() is not self._node:
            return f"<Job {self.name}: left>"
        return f"<Job {self.name}: {'ended' if self._node.lost else f'this process is {self._node.pid}'}>"


class _Cmpirun:
    """A cmpirun in the background, whose job has no program and ends with this process."""

    def __init__(self, stdout: TextIO | None, options: dict[str, Any]) -> None:
        ready_read, ready_write = os.pipe()
        keeper = {"serve": True, "keeper": f"{os.getpid()},{ready_write}"}
        streams = [stdout, stdout] if stdout is not None else [None, None]
        captured = [stdout is not None or _is_replaced(fd) for fd in (1, 2)]
        pipes = [os.pipe() if captures else None for captures in captured]
        try:
            self._process = subprocess.Popen(
                command_line.cmpirun(keeper | options),
                stdin=subprocess.DEVNULL,
                stdout=pipes[0][1] if pipes[0] else None,
                stderr=pipes[1][1] if pipes[1] else None,
                pass_fds=(ready_write,),
                start_new_session=True,  # a Ctrl-C at the prompt is for the prompt
            )
        except OSError as error:
            raise LaunchError(f"cannot start cmpirun: {error}") from None
        finally:
            for write in [ready_write, *(pipe[1] for pipe in pipes if pipe)]:
                os.close(write)
        self._pumps = [
            threading.Thread(target=_pump, args=(pipe[0], fd, stream), name="cmpi-output", daemon=True)
            for fd, (pipe, stream) in enumerate(zip(pipes, streams), 1)
            if pipe
        ]
        for pump in self._pumps:
            pump.start()
        try:
            with open(ready_read) as ready:
                self.folder = ready.readline().rstrip("\n")
        except BaseException:
            self.end()
            raise
        if not self.folder:
            code = self.wait()
            kind = UsageError if code == 2 else LaunchError
            raise kind(f"cmpirun has ended with exit code {code}, and no job; what it says is on stderr")

    def wait(self) -> int:
        """Wait until it has ended, and all that it wrote is shown; its exit code."""
        code = self._process.wait()
        for pump in self._pumps:
            pump.join()
        return code

    def end(self) -> None:
        """Have it end its job."""
        self._process.terminate()
        self.wait()


def _is_replaced(fd: int) -> bool:
    """Whether what Python writes to stdout or stderr goes elsewhere than to the descriptor."""
    stream, own = ((sys.stdout, sys.__stdout__), (sys.stderr, sys.__stderr__))[fd - 1]
    try:
        return stream is not own or stream is None or stream.fileno() != fd
    except (OSError, ValueError):
        return True


def _pump(pipe: int, fd: int, stream: TextIO | None) -> None:
    """Show what comes out of a pipe, in the place of this process's own output, to its end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    data = b"more"
    while data:
        data = os.read(pipe, 65536)
        text = decoder.decode(data, final=not data)
        shown = stream or (sys.stdout, sys.stderr)[fd - 1]
        try:
            if text and shown is not None:
                shown.write(text)
                shown.flush()
        except (OSError, ValueError):
            continue  # it was closed; the job's processes are not to wait for it
    os.close(pipe)


_of_session: list[Job] = []  # the job that `init` has started for this process


def start_for_session() -> None:
    """Start a job for a process that cannot be started again, and say so in one line."""
    job = Job()
    _of_session[:] = [job]
    print(f"cmpi: started the job {job.name} for this process, which has joined it", file=sys.stderr)
