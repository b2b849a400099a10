"""This process's context: its node, created at first use, and the surroundings that a child inherits."""

from __future__ import annotations

import atexit
import faulthandler
import os
import pickle
import socket
import sys
import threading

from cmpi._runtime import environment as names
from cmpi._runtime.monitor.start_child import descriptor
from cmpi._runtime.process import apply_grant, guest, inheritance, node_lock, signal_guard
from cmpi._runtime.process.root_connection import LOST
from cmpi._transport import joining, scripts
from cmpi.errors import NotRunning, UsageError
from cmpi.identifiers import Resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cmpi._runtime.process.lazy_mpi import LazyMpi
    from cmpi._runtime.process.node import Node

# Variables that belong to one process of one MPI world, and must not be inherited.
_OWN = (*names.OF_MPI, names.PREFIX)

RANK_MAIN = "cmpi rank_main"  # that module's name while the program is `__main__`

_lock = threading.Lock()
_shipped: list[str] = []  # a folder of the program, and its copy on hosts that lack it
_node: Node | None = None
_finalizes_mpi = True
_prepared = False  # for the end of this process, and for forks


def in_job() -> bool:
    """Whether this process was started by cmpi, or is a guest of a job.

    Raises:
        NotRunning: It can never be in one: it was forked from a process of a job.
    """
    if _node is not None and _node.owner != os.getpid():
        raise node_lock.forked()
    return (_node is not None and not _node.lost) or names.CONTROL in os.environ


def current() -> Node:
    """Return this process's node; the first call joins the job.

    Raises:
        NotRunning: The process is not part of a job.
    """
    if _node is None:
        return join(None)
    if _node.owner != os.getpid():
        raise node_lock.forked()
    if _node.left:
        raise node_lock.left()
    if _node.lost:
        raise NotRunning(f"{LOST}; cmpi.init(), or another cmpi.Job, starts one")
    return _node


def _refuse_after_fork() -> None:
    if _node is not None:
        _node.forked()


def join(resources: Resources | None, lazy: LazyMpi | None = None) -> Node:
    """Join the job. If the process has joined already, do nothing, whatever the resources.

    Args:
        resources: The resources that this process asks for.
        lazy: Starts MPI when the program imports it. None: MPI starts now.
    """
    global _node
    with _lock:
        if _node is None:
            text = os.environ.get(names.CONTROL, "")
            if not text:
                raise NotRunning(
                    "this process is not part of a cmpi job. Start it with `cmpirun python ...` (in place "
                    "of mpiexec or srun), or call cmpi.init() first, in a script's "
                    "`if __name__ == '__main__':`."
                )
            try:
                control = descriptor(text)
            except (OSError, ValueError):
                raise NotRunning(
                    "this process was started by a process of the job, not by cmpi, so it is not "
                    "part of the job. Start it with cmpi.spawn()"
                ) from None
            from cmpi._runtime.process.node import Node

            signal_guard.install()
            memory = os.environ.get(names.SHARED_MEMORY, "")
            _node = Node(_connection(control), memory, resources, lazy)
            if _node.parent is None:
                world = [pid.value for pid in _node.world]
                scripts.identify(f"{world[0]:x} {_own_program()}", world)
            _prepare(_node)
            shipped = os.environ.get(names.SHIPPED, "").split("\n")
            if len(shipped) == 2:
                _shipped[:] = shipped
            of_world = os.environ.get(names.WORLD, "").split(",")
            apply_grant.are_ours({name: os.environ[name] for name in of_world if name in os.environ})
            for name in (names.CONTROL, names.WORLD, *names.OF_PROCESSES):
                os.environ.pop(name, None)  # processes started from here must not see it
            if not faulthandler.is_enabled() and sys.stderr is not None:
                try:
                    faulthandler.enable()  # a crash in C shows where Python was
                except (OSError, ValueError):
                    pass  # stderr is closed, or is not a file
    return _node


def _connection(control: int) -> socket.socket:
    """Connect to this process's monitor. Raises: NotRunning: It accepts no more processes."""
    with socket.socket(fileno=control) as inherited:
        return socket.socket(fileno=joining.join(inherited).detach())


def _prepare(node: Node) -> None:
    global _prepared
    signal_guard.before.extend(node.before_handlers)
    if not _prepared:
        _prepared = True
        os.register_at_fork(after_in_child=_refuse_after_fork)
        atexit.register(_leave)


def join_as_guest(folder: str) -> Node:
    """Join the job that has this folder, though it has not started this process.

    Raises:
        UsageError: This process is part of a job already.
        NotRunning: There is no such job, or it accepts no more guests.

    Blocks: until the process has joined.
    """
    global _node
    if _node is not None and _node.lost:
        leave_as_guest(_node)
    with _lock:
        if in_job():
            raise UsageError("this process is already part of a job, and can be part of only one at a time")
        from cmpi._runtime.process import guest_mpi
        from cmpi._runtime.process.node import Node

        guest_mpi.hide()
        signal_guard.install()
        sock, memory = guest.connect(folder, f"{_own_program() or 'python'}, process {os.getpid()}")
        _node = Node(sock, memory, guest=True)
        scripts.name_own([_node.pid.value])
        _prepare(_node)
    return _node


def leave_as_guest(guest_node: Node) -> None:
    """Leave the job, and go on without it. A second call does nothing.

    Blocks: until everything that was sent is delivered.
    """
    global _node
    with _lock:
        if joined() is guest_node:
            guest_node.close()
            for first in guest_node.before_handlers:
                signal_guard.before.remove(first)
            guest_node.forget_job()
            _node = None


def joined() -> Node | None:
    """This process's node if it has joined the job, else None; a process that was forked from it has not
    joined."""
    return _node if _node is not None and _node.owner == os.getpid() else None


def leave_mpi_unfinalized() -> None:
    """This process ends abnormally: MPI_Finalize would wait for its world, and its world for this
    process."""
    global _finalizes_mpi
    _finalizes_mpi = False


def _leave() -> None:
    node = joined()
    if node is None:
        return
    # Python sets this when an exception ends the program, even if sys.excepthook was replaced. If rank_main
    # or the worker runs the program, the root has been told already.
    error = getattr(sys, "last_value", None)
    # In a guest, the exception may have been shown at the prompt long ago.
    if error is not None and not node.failed and not node.is_guest and RANK_MAIN not in sys.modules:
        node.failed_by(error)
    node.close()
    if node.owns_mpi and _finalizes_mpi:
        from cmpi._transport import mpi

        mpi.finalize()


def _own_program() -> str:
    """A description of this process's program, independent of its path on this host."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return os.path.basename(file or (sys.argv or [""])[0])


def surroundings() -> bytes:
    """Return the state that a process spawned now inherits, as by fork and exec."""
    with open("/proc/self/status") as file:
        umask = next(line for line in file if line.startswith("Umask:")).split()[1]
    back = _copy()[::-1]
    return pickle.dumps(
        {
            "cwd": _moved(inheritance.working_folder(), back),
            "environment": {
                k: v for k, v in apply_grant.not_ours(os.environ).items() if not k.startswith(_OWN)
            },
            "path": [_moved(path, back) for path in sys.path],
            "argv": sys.argv,
            "umask": int(umask, 8),
            "host": os.uname().nodename,
            "script": scripts.describe(),
            "copies": _shipped,
            "limits": inheritance.limits(),
        }
    )


def _copy() -> list[str]:
    """The program's folder and its copy, on a host that has the copy."""
    return _shipped if _shipped and os.path.isdir(_shipped[1]) else []


def _moved(path: str, pair: list[str]) -> str:
    """A path inside the first folder, moved to the second; other paths unchanged."""
    if pair and isinstance(path, str) and (path == pair[0] or path.startswith(pair[0] + "/")):
        return pair[1] + path[len(pair[0]) :]
    return path


def settle(data: bytes) -> None:
    """Apply, in the new process, what `surroundings` returned."""
    inherited: dict[str, Any] = pickle.loads(data)
    _take_up_script(inherited)
    os.umask(inherited["umask"])
    cwd, here = _moved(inherited["cwd"], _copy()), inherited["host"] == os.uname().nodename
    try:
        os.chdir(cwd if here or not cwd.startswith("/proc/") else "/no such folder here")
    except OSError:
        os.chdir(os.path.expanduser("~"))  # on another host, which lacks that folder
    environment, own, zone = inherited["environment"], frozenset[str](), os.environ.get("TZ")
    if not here:
        own = names.OF_A_HOST
        environment = {name: value for name, value in environment.items() if name not in own}
    else:
        inheritance.take_over_limits(inherited["limits"])
    for name in [k for k in os.environ if not k.startswith(_OWN) and k not in own]:
        if name not in environment:
            del os.environ[name]
    os.environ.update(environment)
    inheritance.take_over_time_zone(zone)


def take_up_script(data: bytes) -> None:
    """Apply the part of `surroundings` that concerns the script: its modules and definitions."""
    _take_up_script(pickle.loads(data))


def _take_up_script(inherited: dict[str, Any]) -> None:
    _shipped[:] = inherited["copies"] or _shipped  # of a deployed program: only its processes know it
    ours = _copy()
    sys.path[:] = [_moved(path, ours) for path in inherited["path"]]
    sys.argv[:] = inherited["argv"]
    script = inherited["script"]
    if script["file"] is not None:
        script["file"] = _moved(_moved(script["file"], inherited["copies"][::-1]), ours)
    scripts.adopt(script)
