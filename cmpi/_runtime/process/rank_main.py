"""Runs a rank's Python program as `python PROGRAM` does, and has the rank end where it fails.

Started in place of the program: `python [OPTIONS] rank_main.py HOW PROGRAM [ARGS...]`, where HOW is "", -m
or -c. By itself, an exception in one rank of an MPI world does not end the world: Python's exit runs
MPI_Finalize, which waits for the other ranks, while these wait for this one in a collective. A rank that
ends with a code other than 0 therefore skips MPI_Finalize, after it has closed its files and run its exit
handlers, and cmpirun ends the others.

Any Python from 3.7 on may run this, with or without cmpi installed: it needs only the standard library, and
loads the few modules of cmpi that it uses by the path of this file.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, NoReturn

HOME = __file__.rsplit("/", 4)[0]
RAISED = 1
# See `cmpi/_runtime/monitor/rank_stacks.py`. Python removes its handlers when it ends: neither signal may
# end the process then.
DUMP_SIGNAL = 63  # a real-time signal, just below the last
RETURN_SIGNAL = 23  # SIGURG
STACKS_FILE, RETURNED = "cmpi-stacks", b"[returned to Python]"


def main() -> None:
    """Run the program; what remains of its end is left to Python, or to `_leave_world`."""
    how, program = sys.argv[1:3]
    here = len(sys.orig_argv) - len(sys.argv) if hasattr(sys, "orig_argv") else 0
    if here > 0:
        target = [program] if not how else [how, program]
        sys.orig_argv[here:] = target + sys.argv[3:]
    sys.argv[:] = [how or program, *sys.argv[3:]]
    _guard_os_exit()
    _offer_stacks()
    try:
        _run(how, program)
        if _is_fork_with_mpi():
            _leave_world(0)
    except SystemExit as error:
        code = _exit_code(error)
        node = _node()
        if node and code != 0:
            node.failed = True  # peers learn the status, not an orderly close
        if (code != 0 and _in_world()) or _is_fork_with_mpi():
            _say(error)
            _leave_world(code)
        raise
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        _show(error, trace)
        _tell_root(error, trace)
        if _in_world() or _is_fork_with_mpi():
            _leave_world(RAISED, interrupted=isinstance(error, KeyboardInterrupt))
        sys.excepthook = lambda *_: None  # it has been shown; Python completes the end
        raise


def _offer_stacks() -> None:
    """Let this rank's monitor see the stacks of its threads, whatever they do."""
    try:
        import _signal  # type: ignore[import-not-found]
        import faulthandler

        file = os.memfd_create(STACKS_FILE)
        appending = os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_APPEND)
        os.close(file)
        _signal.signal(DUMP_SIGNAL, _signal.SIG_IGN)
        faulthandler.register(DUMP_SIGNAL, appending, all_threads=True)

        def returned(*_: object) -> None:
            try:
                os.write(appending, RETURNED)
            except OSError:
                pass  # the program has closed a descriptor that it did not know

        returned.__module__ = "cmpi"  # not a handler of the program: see `wait_registry`
        _signal.signal(RETURN_SIGNAL, returned)
        _signal.siginterrupt(RETURN_SIGNAL, False)
    except (ImportError, AttributeError, OSError):
        pass  # PyPy, or a sandbox without memfd_create or /proc


def _run(how: str, program: str) -> None:
    """Run it as the module `__main__`. Source: `Modules/main.c` of CPython."""
    module = type(sys)("__main__")
    module.__dict__.update(__builtins__=sys.modules["builtins"], __annotations__={})
    main_of_ours = sys.modules["__main__"]
    sys.modules["__main__"] = module
    sys.modules["cmpi rank_main"] = main_of_ours  # its functions are still running; see `context`
    safe = sys.flags.isolated or getattr(sys.flags, "safe_path", False)
    if how == "-m":
        import runpy

        if not safe:
            sys.path.insert(0, os.getcwd())
        runpy._run_module_as_main(program)  # type: ignore[attr-defined]
        return
    if how == "-c":
        if not safe:
            sys.path.insert(0, "")
        exec(compile(program, "<string>", "exec", dont_inherit=True), module.__dict__)
        return
    path = os.path.join(os.getcwd(), program)
    if _is_folder_or_archive(path):
        import runpy

        sys.path.insert(0, path)
        runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]
        return
    import io
    from importlib import machinery

    if not safe:
        sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    loader: Any = machinery.SourceFileLoader("__main__", path)
    if path.endswith(".pyc"):
        loader = machinery.SourcelessFileLoader("__main__", path)
        code = loader.get_code("__main__")
    else:
        try:
            with io.open_code(path) as file:
                text = file.read()
        except OSError as error:
            fault = f"[Errno {error.errno}] {error.strerror}"
            sys.stderr.write(f"{sys.executable}: can't open file {path!r}: {fault}\n")
            sys.exit(2)
        code = compile(text, path, "exec", dont_inherit=True)
    module.__dict__.update(__file__=path, __cached__=None, __loader__=loader)
    exec(code, module.__dict__)


def _is_folder_or_archive(path: str) -> bool:
    for hook in sys.path_hooks:
        try:
            hook(path)
        except ImportError:
            continue
        return True
    return False


def _in_mpi() -> Any:
    """The module `mpi4py.MPI`, if this program has started MPI and not finalized it."""
    mpi = sys.modules.get("mpi4py.MPI")
    try:
        return mpi if mpi and mpi.Is_initialized() and not mpi.Is_finalized() else None
    except Exception:
        return None  # it is just being imported


def _in_world() -> bool:
    """Whether MPI_Finalize would wait for other ranks."""
    mpi = _in_mpi()
    return mpi is not None and mpi.COMM_WORLD.size > 1


def _is_fork_with_mpi() -> bool:
    """Whether the program has forked this process with a running MPI, which belongs to its parent."""
    return os.getpid() != _owner and _in_mpi() is not None


def _exit_code(error: SystemExit) -> int:
    code = error.code
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


def _say(error: SystemExit) -> None:
    """Show what Python shows for a SystemExit."""
    if error.code is not None and not isinstance(error.code, int):
        try:
            sys.stderr.write(f"{error.code}\n")
        except Exception:
            pass  # sys.stderr is None, or closed


def _show(error: BaseException, trace: TracebackType | None) -> None:
    """Show an exception that nobody caught, as Python does."""
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    sys.last_exc = error  # type: ignore[attr-defined, unused-ignore]
    error.__traceback__ = trace
    try:
        sys.excepthook(type(error), error, trace)
    except SystemExit:
        pass
    except BaseException as another:
        sys.__excepthook__(type(another), another, another.__traceback__)
        sys.__excepthook__(type(error), error, trace)


def _ours(name: str) -> Any:
    """A module of cmpi; None if this Python cannot load it."""
    path = sys.path[:]
    sys.path[:] = [*_libraries, HOME]  # never import cmpi's modules from the program's folders
    try:
        __import__(name)
        return sys.modules[name]
    except Exception:
        return None
    finally:
        sys.path[:] = path


def _node() -> Any:
    """This process's node, if it has joined the job."""
    context = sys.modules.get("cmpi._runtime.process.context")
    return context and context.joined()


def _tell_root(error: BaseException, trace: TracebackType | None) -> None:
    """Tell the root which exception it was: through the node, or directly if there is none."""
    if os.getpid() != _owner:
        return  # a process that the program forked fails on its own account
    try:
        node = _node()
        last_words = _ours("cmpi._runtime.process.last_words")
        if node:
            node.failed_by(error)
        elif last_words:
            last_words.tell_unjoined(last_words.raised(error, trace))
    except Exception:
        sys.__excepthook__(*sys.exc_info())  # a bug in cmpi must not keep the rank from ending


def _leave_world(code: int, interrupted: bool = False) -> NoReturn:
    """End as Python does, but without MPI_Finalize."""
    ending = _ours("cmpi._runtime.process.interpreter_end")
    context = sys.modules.get("cmpi._runtime.process.context")
    if context is not None:
        context.leave_mpi_unfinalized()
    if ending is not None:
        ending.run_exit_handlers()
    if interrupted:
        import signal

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    _exit(code)


_exit, _owner = os._exit, os.getpid()
if sys.path and sys.path[0] == __file__.rpartition("/")[0]:
    del sys.path[0]  # this file's folder, which Python would search first
_libraries = sys.path[:]


class LeftWorld(Exception):
    """Never raised; the report names it as if it had been."""


def _guard_os_exit() -> None:
    """Make `os._exit(0)` a failure if the other ranks would wait for this one for ever."""

    def _exit_of_rank(status: int) -> NoReturn:
        if os.getpid() == _owner and status == 0 and _in_world():
            _tell_root(LeftWorld("os._exit(0) without MPI_Finalize, in a world of several ranks"), None)
            status = RAISED
        _exit(status)

    _exit_of_rank.__name__ = _exit_of_rank.__qualname__ = "_exit"
    _exit_of_rank.__doc__ = os._exit.__doc__
    os._exit = _exit_of_rank


if __name__ == "__main__":
    main()
