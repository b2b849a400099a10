"""The process behind a spawned closure: joins the job, gets the closure, runs it.

Forked from the fork server, or executed where there is none.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
import traceback
from typing import Any, NoReturn

from cmpi._core import limits
from cmpi._core.protocol import frames
from cmpi._runtime.linux import descendants
from cmpi._runtime.process import apply_grant, context
from cmpi._transport import pickling
from cmpi.channels.receiver import Receiver
from cmpi.identifiers import RAISED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from cmpi._runtime.process.node import Node


def main(leash: _socket.socket | None) -> int:
    """Run the closure; returns the exit code. The rest of the end is for exit handlers."""
    node = context.join(None)
    # Only now, see `Pmi.fragile`. Should the monitor be dead already, the control connection says so.
    descendants.die_with_parent()
    if leash is not None:
        leash.close()
    with node.lock:
        node.changed.wait_for(lambda: node.closure is not None)
    try:
        function, arguments = _closure(node)
        function(node.parent, *arguments)
    except SystemExit as error:
        code = _exit_code(error)
        node.failed = code != 0  # peers learn the status, instead of an orderly close
        return code
    except BaseException as error:
        _show(error)
        node.failed_by(error)
        return RAISED
    return 0


def run(leash: _socket.socket | None = None) -> NoReturn:
    """Run the closure, and end the process in order: exit handlers of Python and of C libraries.

    `leash`, if there is one, holds the stub of this process: MPI's launcher takes its end for ours, which
    must not come before we are through MPI_Init.

    What is left out is the interpreter taking itself apart, object by object: with numpy loaded
    that is 15 ms, half as much as all the rest of a process's life, and frees what the kernel
    frees anyway.
    """
    code = main(leash)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # closed by the person's code
    ctypes.CDLL(None).exit(code)
    raise AssertionError("exit returned")


def _closure(node: Node) -> Any:
    """The function and its arguments; nothing else holds on to them."""
    order, node.closure = node.closure, None
    assert order is not None
    context.settle(order.context)
    apply_grant.take_up(node.cores, node.nice, limits.threads(node.resources.cpu_units), os.environ)
    if order.inline:
        return pickling.loads(order.closure)
    assert node.parent is not None
    with Receiver[Any](node.parent, name=frames.CLOSURE_CHANNEL) as receiver:
        return receiver.recv()


def _show(error: BaseException) -> None:
    """The traceback, from the person's function on."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename == __file__:
        frame = frame.tb_next
    sys.stdout.flush()
    traceback.print_exception(type(error), error, frame)
    sys.stderr.flush()


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1
