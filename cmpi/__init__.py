"""cmpi: processes, typed channels and an SPMD launcher for Python, on MPI.

A map of the package; each layer imports only what is below it:

    cmpi/launcher/      the cmpirun command: plans, then starts and supervises the job (in launcher/)
    cmpi/channels/      what you import: Sender, Receiver, select
    cmpi/processes/     what you import: spawn, wait, links, supervisors
    cmpi/data/          what you import: parallel streams on a process pool
    cmpi/_runtime/      a folder for each kind of process: process/, monitor/, root/; linux/ asks the kernel
    cmpi/_transport/    bytes: rings, MPI, sockets, doorbells, pickling
    cmpi/_core/         decisions, pure, no I/O: protocol/, job/, channel/, pool/, data/...

Each name is loaded when it is first used, so that a monitor, which needs none of them, stays small.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 13):
    import _interpreters
else:
    import _xxsubinterpreters as _interpreters  # type: ignore[import-not-found]
# Subinterpreters share the process's connection to its monitor, and must not read from it. And compiled
# modules have one set of globals for all interpreters: the main one fails when another has ended.
if _interpreters.get_current() != _interpreters.get_main():
    raise ImportError("cmpi works in a process's main interpreter only, and this is a subinterpreter")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.channel.channel import Statistics
    from cmpi._core.channel.contract import Shape
    from cmpi.channels.any_receiver import AnyReceiver
    from cmpi.channels.broadcast import Broadcast
    from cmpi.channels.call import Call, acall, call
    from cmpi.channels.mail_sender import NamedSender
    from cmpi.channels.mailbox import Mailbox
    from cmpi.channels.receiver import Receiver
    from cmpi.channels.select import select
    from cmpi.channels.selection import Selected
    from cmpi.channels.sender import Sender
    from cmpi.errors import (
        CellFailed,
        ChannelBusy,
        ChannelClosed,
        ChannelExists,
        CmpiError,
        ContractMismatch,
        EndOfChannel,
        InternalError,
        JobFailed,
        LaunchError,
        MessagesLost,
        NameTaken,
        NeverFits,
        NoCapacity,
        NotPicklable,
        NotRunning,
        PeerClosed,
        PeerExited,
        PeerFailed,
        ProtocolError,
        RemoteTraceback,
        TooManyRestarts,
        UsageError,
        WrongArguments,
        WrongValue,
    )
    from cmpi.identifiers import Capacity, ExitStatus, Pid, Resources
    from cmpi.pool import (
        PoolBroken,
        PoolFuture,
        PoolStatistics,
        ProcessPool,
        TaskKilled,
        TaskOptions,
        WorkerDied,
    )
    from cmpi.processes.child import Child
    from cmpi.processes.children import (
        ChildInfo,
        restart_child,
        start_child,
        terminate_child,
        which_children,
    )
    from cmpi.processes.deadline import deadline, on_deadline
    from cmpi.processes.job import Failure, Job
    from cmpi.processes.links import (
        link,
        monitor,
        register,
        trap_exits,
        unlink,
        unregister,
        whereis,
    )
    from cmpi.processes.notices import Exited, Notices
    from cmpi.processes.process import (
        aspawn,
        await_exit,
        capacity,
        init,
        kill,
        parent,
        pid,
        preload,
        resources,
        spawn,
        spawn_group,
        try_spawn,
        wait,
        world,
    )
    from cmpi.processes.results import aresult, result
    from cmpi.processes.run import run
    from cmpi.processes.supervise import supervise

__version__ = "0.1.0"

_HOMES = {
    "cmpi.processes.process": (
        "init", "pid", "parent", "world", "resources", "spawn", "aspawn", "spawn_group",
        "try_spawn", "wait",
        "await_exit", "kill", "capacity", "preload",
    ),
    "cmpi.processes.results": ("result", "aresult"),
    "cmpi.processes.run": ("run",),
    "cmpi.processes.job": ("Job", "Failure"),
    "cmpi.processes.deadline": ("deadline", "on_deadline"),
    "cmpi.processes.links": (
        "link", "unlink", "monitor", "trap_exits", "register", "unregister", "whereis",
    ),
    "cmpi.processes.children": (
        "start_child", "which_children", "terminate_child", "restart_child", "ChildInfo",
    ),
    "cmpi.processes.notices": ("Notices", "Exited"),
    "cmpi.processes.supervise": ("supervise",),
    "cmpi.processes.child": ("Child",),
    "cmpi.channels.sender": ("Sender",),
    "cmpi.channels.mailbox": ("Mailbox",),
    "cmpi.channels.mail_sender": ("NamedSender",),
    "cmpi.channels.call": ("call", "acall", "Call"),
    "cmpi.channels.receiver": ("Receiver",),
    "cmpi.channels.select": ("select",),
    "cmpi.channels.selection": ("Selected",),
    "cmpi.channels.any_receiver": ("AnyReceiver",),
    "cmpi.channels.broadcast": ("Broadcast",),
    "cmpi._core.channel.channel": ("Statistics",),
    "cmpi._core.channel.contract": ("Shape",),
    "cmpi.pool": (
        "ProcessPool", "PoolFuture", "PoolStatistics", "PoolBroken", "TaskKilled", "TaskOptions",
        "WorkerDied",
    ),
    "cmpi.identifiers": ("Pid", "Resources", "ExitStatus", "Capacity"),
    "cmpi.errors": (
        "CmpiError", "UsageError", "NotRunning", "ChannelExists", "ChannelBusy", "ContractMismatch",
        "NotPicklable", "NoCapacity", "NeverFits", "ChannelClosed", "EndOfChannel", "PeerClosed",
        "PeerExited", "PeerFailed", "LaunchError", "ProtocolError", "RemoteTraceback", "WrongArguments",
        "WrongValue", "InternalError", "CellFailed", "JobFailed", "NameTaken", "MessagesLost",
        "TooManyRestarts",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "WorkerDied",
    "TaskOptions",
    "TaskKilled",
    "ProcessPool",
    "PoolStatistics",
    "PoolFuture",
    "PoolBroken",
    "AnyReceiver",
    "Broadcast",
    "Call",
    "Capacity",
    "CellFailed",
    "ChannelBusy",
    "ChannelClosed",
    "ChannelExists",
    "Child",
    "ChildInfo",
    "CmpiError",
    "ContractMismatch",
    "EndOfChannel",
    "ExitStatus",
    "Exited",
    "Failure",
    "InternalError",
    "Job",
    "JobFailed",
    "LaunchError",
    "Mailbox",
    "MessagesLost",
    "NameTaken",
    "NamedSender",
    "NeverFits",
    "NoCapacity",
    "NotPicklable",
    "NotRunning",
    "Notices",
    "PeerClosed",
    "PeerExited",
    "PeerFailed",
    "Pid",
    "ProtocolError",
    "Receiver",
    "RemoteTraceback",
    "Resources",
    "Selected",
    "Sender",
    "Shape",
    "Statistics",
    "TooManyRestarts",
    "UsageError",
    "WrongArguments",
    "WrongValue",
    "acall",
    "aresult",
    "aspawn",
    "await_exit",
    "call",
    "capacity",
    "deadline",
    "init",
    "kill",
    "link",
    "monitor",
    "on_deadline",
    "parent",
    "pid",
    "preload",
    "register",
    "resources",
    "restart_child",
    "result",
    "run",
    "select",
    "spawn",
    "spawn_group",
    "start_child",
    "supervise",
    "terminate_child",
    "trap_exits",
    "try_spawn",
    "unlink",
    "unregister",
    "wait",
    "whereis",
    "which_children",
    "world",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in ("slurm", "data"):
        return import_module(f"cmpi.{name}")
    if name == "load_ipython_extension":  # what `%load_ext cmpi` calls
        return import_module("cmpi.ipython").load
    home = _HOME_OF.get(name)
    if home is None:
        from cmpi._guesses import answer

        raise AttributeError(answer(name, __all__))
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
