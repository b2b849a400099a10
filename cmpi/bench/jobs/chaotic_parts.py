"""What `chaos` does to processes by signals, and what a worker's forked children do."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

import cmpi
from cmpi._runtime.process import context

STOPPED_S = 0.2  # the longest time that a process stays stopped
ALIVE_S = 0.2  # how long a forked child lives that outlives its task
REFUSED, NOT_REFUSED = 0, 9  # exit codes of forked children


def parent_of(process: int) -> int:
    """The pid of a process's parent; 0 if the process has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return int(psutil.Process(process).ppid())
    return 0


def launcher() -> Any:
    """The cmpirun of this job, as psutil has it."""
    above = psutil.Process().parents()
    return next(each for each in above if any(word.endswith("cmpirun") for word in each.cmdline()))


def job_parts() -> list[int]:
    """All processes of this job except this one: cmpirun, MPI's launcher, the root, monitors, closures."""
    top = launcher()
    parts = [top.pid]
    with contextlib.suppress(psutil.NoSuchProcess):
        parts += [process.pid for process in top.children(recursive=True)]
    return [part for part in parts if part != os.getpid()]


def stop_for_a_moment(process: int, stopped_s: float) -> None:
    """Stop a process, and have a thread continue it after `stopped_s`, because the caller may wait for that
    process.

    Raises:
        ProcessLookupError: The process has ended.
    """
    os.kill(process, signal.SIGSTOP)
    threading.Timer(stopped_s, _go_on, [process]).start()


def _go_on(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


def drop_a_socket(choice: random.Random) -> bool:
    """End one of this process's connections by sockets, as a failing network would; return whether there
    was one."""
    node = context.current()
    with node.lock:
        sockets = [peer.connection.socket_inbox.descriptor for peer in node.peers]
        sockets = [descriptor for descriptor in sockets if descriptor >= 0]
        if sockets:
            with socket.socket(fileno=os.dup(choice.choice(sockets))) as sock, contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
    return bool(sockets)


def stop_a_part(choice: random.Random) -> bool:
    """Stop any process of the job for a moment; return whether one was found."""
    try:
        stop_for_a_moment(choice.choice(job_parts()), choice.random() * STOPPED_S)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
    return True


class Forks:
    """A worker's forked children. Each kind ends in a different way, or uses cmpi, which must be refused.

    Args:
        use: Uses cmpi through an object that the child has inherited.
    """

    def __init__(self, use: Callable[[], Any]) -> None:
        self._use = use
        self._alive: list[int] = []

    def fork(self, number: int) -> str:
        """Fork another child, whose kind depends on the number; return a complaint, or ""."""
        kind = (self._exit, self._killed, self._refused, self._lives_on)[number % 4]
        child = os.fork()
        if child == 0:
            try:
                kind(number)
            finally:
                os._exit(1)
        if kind == self._lives_on:
            self._alive.append(child)
            code = 0
        else:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self._alive = [pid for pid in self._alive if os.waitpid(pid, os.WNOHANG)[0] == 0]
        if kind == self._refused and code != REFUSED:
            return f"a forked child that used cmpi was not refused: exit code {code}"
        return ""

    def _exit(self, number: int) -> None:
        os._exit(number % 3)

    def _killed(self, _: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _refused(self, _: int) -> None:
        try:
            self._use()
        except cmpi.NotRunning:
            os._exit(REFUSED)
        os._exit(NOT_REFUSED)

    def _lives_on(self, _: int) -> None:
        time.sleep(ALIVE_S)
