"""`Job`: a job that this process joins as a guest, without having been started by cmpirun."""

from __future__ import annotations

import atexit
import codecs
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, TextIO

from cmpi._base import html
from cmpi._base.frozen import frozen
from cmpi._base.units import format_cpus, format_memory
from cmpi._core.protocol import process_root
from cmpi._core.slurm import keyword_options
from cmpi._runtime.linux import job_folders
from cmpi._runtime.process import context
from cmpi.errors import JobFailed, LaunchError, NotRunning, UsageError
from cmpi.identifiers import ExitStatus, Pid
from cmpi.processes import cell_output, command_line
from cmpi.processes.cell_output import CellOutput

_NOT_HERE = (
    "serve",
    "name",
    "n",
    "doctor",
    "version",
    "dry_run",
    "add_host",
    "add_slurm",
    "jobs",
    "stop",
)


@frozen
class Failure:
    """A process that failed, and whose failure no process of the job has dealt with.

    Attributes:
        pid: The process.
        name: Its name in output and reports.
        status: How it ended.
    """

    pid: Pid
    name: str
    status: ExitStatus

    def __str__(self) -> str:
        return f"{self.name} · {self.pid}: {self.status}"


class Job:
    """Starts a job in the background, which this process joins as a guest.

    It is for processes that cmpirun has not started: an interactive session, a notebook, a test run, a
    server. A guest can spawn, send, receive, wait and use pools like any process of the job.

    Args:
        stdout: A file for the output of the job's processes. None: their output goes to the present
            `sys.stdout` and `sys.stderr`.
        slurm: What to ask Slurm for, to start the job there, as for `cmpi.slurm.submit`: `dict(nodes=2,
            tasks=8, time="1:00:00")`, and partition, account, mem_per_cpu, gpus_per_node, constraint, name,
            after, setup, slurm_args. Its state is shown on stderr until it runs; Ctrl-C takes it back.
        options: Options of cmpirun: `cpus=4` is `--cpus 4`, `verbose=True` is `--verbose`; a list repeats
            an option. `output` defaults to "plain".

    Raises:
        UsageError: This process is already part of a job, or an option makes no sense here.
        LaunchError: The job cannot be started; cmpirun's message is on stderr.

    Use it as a context manager: the end of the block ends the job, as `close` does, and raises `JobFailed`
    if processes have failed and no process has dealt with that. Without a block the job ends with this
    process, even if that is killed.

    Blocks: until the job is up, about a third of a second; with `slurm`, until Slurm has started it.
    """

    def __init__(
        self, *, stdout: TextIO | None = None, slurm: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        wrong = [name for name in options if name in _NOT_HERE]
        if wrong:
            raise UsageError(
                f"cmpi.Job does not accept the option {wrong[0]!r}: its job runs no program of its own"
            )
        if context.in_job():
            raise UsageError("this process is already part of a job, and can be part of only one at a time")
        cells = None
        if stdout is None and slurm is None and "output" not in options:
            cells = cell_output.of_this_kernel(_write)
        options = {"serve": True, "output": "json" if cells else "plain"} | options
        if slurm is not None:
            options |= _in_slurm(slurm)
        self._cmpirun: _Cmpirun | None = _Cmpirun(stdout, options, cells)
        try:
            self._join(self._cmpirun.where, str(options.get("ssh", "ssh")))
        except BaseException:
            self._cmpirun.end()
            raise
        if cells:
            self._node.claim = cells.claim

    @classmethod
    def attach(cls, name: str, *, ssh: str = "ssh") -> Job:
        """Join a running job of this user, on this host or another.

        Args:
            name: The job's name (`cmpirun --name`), or its folder; "HOST:NAME" for one on another host. To
                that, everything goes through ssh.
            ssh: The ssh command, with options.

        Raises:
            LaunchError: There is no such job, or more than one; or, with cmpirun's message on stderr, the
                other host cannot be reached.
            UsageError: This process is already part of a job.
            NotRunning: The job is ending and accepts no more guests.

        When this process leaves, the processes that it has spawned end; the job goes on.

        Blocks: until the process has joined.
        """
        if context.in_job():
            raise UsageError("this process is already part of a job, and can be part of only one at a time")
        job = cls.__new__(cls)
        job._cmpirun = None
        job._join(name, ssh)
        return job

    def _join(self, name: str, ssh: str) -> None:
        """Join the job of this name, or with this folder, through a gateway if it is on another machine."""
        machine, there = job_folders.machine_and_name(name)
        self._gateway: _Cmpirun | None = None
        if machine and not (machine == os.uname().nodename and job_folders.find(there)):
            self._gateway = _Cmpirun(None, {"relay": name, "ssh": ssh}, None)
            folder, self.name = self._gateway.where, name
        else:
            folder = job_folders.the_one(there)
            self.name = job_folders.name(folder)
        try:
            self._node = context.join_as_guest(folder)
        except BaseException:
            if self._gateway is not None:
                self._gateway.end()
            raise
        self._owner = os.getpid()
        atexit.register(self.close)

    @property
    def failures(self) -> list[Failure]:
        """The failed processes among this process's descendants, in the order of their ends.

        Failures that a process has dealt with are left out.

        Raises: NotRunning: The job has ended.

        Blocks: for the root's answer.
        """
        if context.joined() is not self._node:
            raise NotRunning(f"this process has left the job {self.name}")
        answer = self._node.root.ask(process_root.AskFailures)
        statuses = map(ExitStatus, answer.codes, answer.signals, answer.verdicts)
        return list(map(Failure, map(Pid, answer.pids), answer.names, statuses))

    def close(self) -> None:
        """Leave the job, and end the processes that this process has spawned. If it has started the job,
        end the job. A second call does nothing.

        Blocks: until all sent messages are delivered, and until a job that this process started has ended.
        """
        if os.getpid() != self._owner:
            return  # this process was forked from the guest
        atexit.unregister(self.close)
        context.leave_as_guest(self._node)
        if self._gateway is not None:
            self._gateway.wait()
        if self._cmpirun is not None:
            self._cmpirun.guest_left()

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failures: list[Failure] = []
        try:
            if error is not None:
                self._node.failed_by(error)  # channels are aborted, not closed
            elif context.joined() is self._node:
                failures = self.failures
        except NotRunning:
            pass  # the job has ended, and cmpirun has reported it
        finally:
            self.close()
        if failures:
            raise JobFailed(self.name, failures)

    @property
    def _end(self) -> str:
        """Why this process is no longer part of the job; "": it is."""
        if context.joined() is not self._node:
            return "left"
        return "ended" if self._node.lost else ""

    def __repr__(self) -> str:
        return f"<Job {self.name}: {self._end or f'this process is {self._node.pid}'}>"

    def _repr_html_(self) -> str:
        try:
            facts = {"state": self._end} if self._end else self._facts()
        except NotRunning:
            facts = {"state": "ended"}
        return html.table("Job", {"name": self.name, **facts})

    def _facts(self) -> dict[str, object]:
        """Facts for people about a job that this process is part of. Blocks: for the root's answers."""
        now = self._node.root.ask(process_root.AskCapacity)
        free, total = format_memory(now.free_memory_bytes), format_memory(now.total_memory_bytes)
        return {
            "this process": self._node.pid,
            "free cpus": f"{format_cpus(now.free_cpu_units)} of {format_cpus(now.total_cpu_units)}",
            "free memory": f"{free} of {total}",
            "failures": len(self.failures),
        }


def _in_slurm(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of cmpirun that start a job in Slurm."""
    if complaint := keyword_options.unknown(options, "requeue_before"):
        raise UsageError(f"cmpi.Job(slurm=...): {complaint}")
    return {"name": f"guest-{os.urandom(6).hex()}"} | keyword_options.for_cmpirun(options)


class _Cmpirun:
    """A cmpirun in the background that ends with this process: of a job without a program, or the gateway
    to a job on another host.

    Attributes:
        where: The folder of the job, or of the gateway; or the job's name, "HOST:NAME".
    """

    def __init__(self, stdout: TextIO | None, options: dict[str, Any], cells: CellOutput | None) -> None:
        ready_read, ready_write = os.pipe()
        self._in_slurm = "slurm" in options
        keeper = {"keeper": f"{os.getpid()},{ready_write}"}
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
                start_new_session=True,  # Ctrl-C at the prompt must not reach the job
            )
        except OSError as error:
            raise LaunchError(f"cannot start cmpirun: {error}") from None
        finally:
            for write in [ready_write, *(pipe[1] for pipe in pipes if pipe)]:
                os.close(write)
        ways: list[Callable[[int], None]] = [
            partial(_pump, fd=fd, stream=stream) for fd, stream in enumerate(streams, 1)
        ]
        if cells:
            ways[0] = cells.pump
        self._pumps = [
            threading.Thread(target=way, args=(pipe[0],), name="cmpi-output", daemon=True)
            for pipe, way in zip(pipes, ways)
            if pipe
        ]
        for pump in self._pumps:
            pump.start()
        try:
            with open(ready_read) as ready:
                self.where = ready.readline().rstrip("\n")
        except BaseException:
            self.end()
            raise
        if not self.where:
            code = self.wait()
            kind = UsageError if code == 2 else LaunchError
            what = f"reach {options['relay']}" if "relay" in options else "start the job"
            raise kind(f"cmpirun could not {what} (exit code {code}); its message is on stderr")

    def wait(self) -> int:
        """Wait until cmpirun has ended and all its output is shown; returns its exit code."""
        code = self._process.wait()
        for pump in self._pumps:
            pump.join()
        return code

    def guest_left(self) -> int:
        """Wait likewise, after this process has left the job, which then ends by itself."""
        if self._in_slurm:
            self._process.terminate()  # it cancels the job if that does not end
        return self.wait()

    def end(self) -> None:
        """Make cmpirun end the job."""
        self._process.terminate()
        self.wait()


def _is_replaced(fd: int) -> bool:
    """Whether Python's stdout or stderr no longer writes to the descriptor."""
    stream, own = ((sys.stdout, sys.__stdout__), (sys.stderr, sys.__stderr__))[fd - 1]
    try:
        return stream is not own or stream is None or stream.fileno() != fd
    except (OSError, ValueError):
        return True


def _pump(pipe: int, fd: int, stream: TextIO | None) -> None:
    """Copy a pipe to this process's own output until the pipe ends."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    data = b"more"
    while data:
        data = os.read(pipe, 65536)
        text = decoder.decode(data, final=not data)
        if text:
            _write(fd, text, stream)
    os.close(pipe)


def _write(fd: int, text: str, stream: TextIO | None = None) -> None:
    """Write text to a stream, or to this process's present stdout or stderr."""
    shown = stream or (sys.stdout, sys.stderr)[fd - 1]
    try:
        if shown is not None:
            shown.write(text)
            shown.flush()
    except (OSError, ValueError):
        pass  # the stream is closed; go on reading so that the job's processes do not block


_of_session: list[Job] = []  # the job that `init` has started for this process


def start_for_session() -> None:
    """Start a job for a process that cannot be restarted, and print a line that says so."""
    job = Job()
    _of_session[:] = [job]
    print(f"cmpi: started the job {job.name} for this process, which has joined it", file=sys.stderr)
