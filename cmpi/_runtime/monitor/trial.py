"""Tests whether a module can be loaded before a fork."""

from __future__ import annotations

import gc
import importlib
import os
import random
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # without the enums of `signal`


def fault(module: str) -> str:
    """Return why the fork server must not import a module, or "".

    The import is tried in a fork, so that it can end no more than that fork. A module must not start
    threads: forked processes would lack them, and might wait for ever for a thread pool. It must not create
    a random generator: all processes would get the same numbers.

    Blocks: while the module is imported.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            os.write(write, b"=" + _imported(module).encode("utf-8", "replace")[:4000])
        finally:
            os._exit(0)
    os.close(write)
    said = b""
    with open(read, "rb", buffering=0) as pipe:
        while piece := pipe.read(4096):
            said += piece
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # the kernel has reaped it
    return said[1:].decode() if said else "its import ends the process"


def _imported(module: str) -> str:
    """Import the module, in the fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):
        os.dup2(null, number)  # its output belongs to the real import
    before = _generators()
    try:
        importlib.import_module(module)
    except BaseException as error:
        return repr(error)
    threads = len(os.listdir("/proc/self/task")) - 1
    if threads:
        return f"it starts threads ({threads}), which a forked process would lack"
    if len(_generators() - before):
        return "it creates a random generator, so every process would draw the same numbers"
    return ""


def _generators() -> set[int]:
    """The random generators that exist (not those in frozen objects, which are older than the fork)."""
    kinds: tuple[type, ...] = (random.Random,)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        kinds += (numpy_random.Generator, numpy_random.RandomState, numpy_random.BitGenerator)
    return {
        id(it)
        for it in gc.get_objects()
        if issubclass(type(it), kinds) and not issubclass(type(it), random.SystemRandom)
    }
