"""The process behind a spawned closure: joins the job, receives the closure, runs it.

It is forked from the fork server, or executed if there is none.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from typing import Any, NoReturn

from cmpi._core import limits
from cmpi._core.protocol import process_process
from cmpi._runtime.linux import descendants, loaded_libraries
from cmpi._runtime.process import apply_grant, context, interpreter_end
from cmpi._transport import mpi, pickling
from cmpi.channels.receiver import Receiver
from cmpi.identifiers import RAISED
from cmpi.processes import function_call, results

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from types import TracebackType

    from cmpi._runtime.process.lazy_mpi import LazyMpi
    from cmpi._runtime.process.node import Node


def main(leash: _socket.socket | None, lazy: LazyMpi | None) -> int:
    """Run the closure; returns the exit code, or the negative number of the signal to end by, as Python
    does for Ctrl-C.

    The exit handlers are left to the caller.
    """
    node = context.join(None, lazy)
    # Only now, see `Pmi.fragile`. If the monitor is already dead, the control connection shows it.
    descendants.die_with_parent()
    if leash is not None:
        leash.close()
    with node.lock:
        node.changed.wait_for(lambda: node.closure is not None)
    wanted = False
    try:
        function, arguments, keywords, wanted = _closure(node)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        value = function_call.make(function, node.parent, *arguments, **keywords)
        if wanted and node.parent is not None and os.getpid() == node.owner:
            wanted = False  # the parent is told, whether or not it still wants the result
            results.deliver(node.parent, (True, value, ""))
    except SystemExit as error:
        code = _exit_code(error)
        node.failed = code != 0  # peers learn the status, not an orderly close
        return code
    except BaseException as error:
        own = os.getpid() == node.owner  # a process that the program forked fails on its own account
        if wanted and own and node.parent is not None and isinstance(error, Exception):
            results.deliver(node.parent, results.raised(error, _trace(error)))  # it may show this
        else:
            _show(error)
        if own:
            node.failed_by(error)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else RAISED
    finally:
        # The rest is short, or waits for threads and peers; SIGTERM ends that.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 0


def run(leash: _socket.socket | None = None, lazy: LazyMpi | None = None) -> NoReturn:
    """Run the closure, and end the process in order: exit handlers of Python and of C libraries.

    Args:
        leash: Keeps the stub of this process alive: MPI's launcher takes the stub's end for this process's
            end, which must not come before MPI_Init has returned.
        lazy: Starts MPI when the program imports it. None: MPI starts now.

    The interpreter's own teardown is skipped (see `interpreter_end`). A process of a group that fails also
    skips MPI_Finalize, which would wait for the others; they are ended instead.
    """
    owner = os.getpid()
    libraries = loaded_libraries.count()
    code = main(leash, lazy)
    forked = os.getpid() != owner
    fails_others = code != 0 and mpi.in_world()
    if fails_others:
        context.leave_mpi_unfinalized()
    interpreter_end.run_exit_handlers()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    if forked or fails_others:
        os._exit(code)  # C exit handlers would finalize the parent's MPI, or wait in it
    libc = ctypes.CDLL(None)
    if lazy is not None and lazy.untouched and loaded_libraries.count() == libraries:
        libc.fflush(None)
        # C exit handlers belong only to libraries that the fork server loaded and that were not used.
        os._exit(code)
    libc.exit(code)
    raise AssertionError("exit returned")


def _closure(node: Node) -> Any:
    """The function and its arguments; nothing else keeps references to them."""
    order, node.closure = node.closure, None
    assert order is not None
    context.settle(order.context)
    apply_grant.add_ours(order.settings, os.environ)
    apply_grant.take_up(node.cores, node.nice, limits.threads(node.resources.cpu_units), os.environ)
    if order.inline:
        return pickling.loads(order.closure)
    assert node.parent is not None
    with Receiver[Any](node.parent, name=process_process.CLOSURE_CHANNEL) as receiver:
        return receiver.recv()


def _from_function_on(error: BaseException) -> TracebackType | None:
    """The traceback, without the frames that called the function."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename in (__file__, function_call.__file__):
        frame = frame.tb_next
    return frame


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, _from_function_on(error)))


def _show(error: BaseException) -> None:
    interpreter_end.flush_standard_streams()
    traceback.print_exception(type(error), error, _from_function_on(error))
    interpreter_end.flush_standard_streams()


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return RAISED
