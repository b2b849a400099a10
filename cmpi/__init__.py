"""cmpi: processes, typed channels and an SPMD launcher for Python, on MPI.

A map of the package; each layer imports only what is below it:

    launcher/           the cmpirun command: plans, then starts and supervises one mpiexec
    cmpi/*.py           what you import: processes (_process), channels (_sender, _receiver), errors
    cmpi/_runtime/      the shells: root, monitors, fork server, this process's node
    cmpi/_transport/    bytes: MPI links, control sockets, doorbells, pickling
    cmpi/_core/         decisions: job, scheduler, links, channels, output; pure, no I/O

The names are loaded when first used, so that a monitor, which needs none of them, stays small.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.channel import Statistics
    from cmpi._core.contract import Shape
    from cmpi._deadline import deadline, on_deadline
    from cmpi._ids import Capacity, ExitStatus, Pid, Resources
    from cmpi._links import (
        Exited,
        Notices,
        link,
        monitor,
        register,
        trap_exits,
        unlink,
        unregister,
        whereis,
    )
    from cmpi._process import (
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
    from cmpi._receiver import Receiver
    from cmpi._select import AnyReceiver, Broadcast, Selected, select
    from cmpi._sender import Sender
    from cmpi._supervise import Child, supervise
    from cmpi.errors import (
        ChannelBusy,
        ChannelClosed,
        ChannelExists,
        CmpiError,
        ContractMismatch,
        EndOfChannel,
        InternalError,
        LaunchError,
        NameTaken,
        NeverFits,
        NoCapacity,
        NotPicklable,
        NotRunning,
        PeerClosed,
        PeerExited,
        ProtocolError,
        TooManyRestarts,
        UsageError,
    )

__version__ = "0.1.0"

_HOMES = {
    "cmpi._process": (
        "init", "pid", "parent", "world", "resources", "spawn", "aspawn", "spawn_group",
        "try_spawn", "wait",
        "await_exit", "kill", "capacity", "preload",
    ),
    "cmpi._deadline": ("deadline", "on_deadline"),
    "cmpi._links": (
        "link", "unlink", "monitor", "trap_exits", "Notices", "Exited", "register", "unregister", "whereis",
    ),
    "cmpi._supervise": ("supervise", "Child"),
    "cmpi._sender": ("Sender",),
    "cmpi._receiver": ("Receiver",),
    "cmpi._select": ("select", "Selected", "AnyReceiver", "Broadcast"),
    "cmpi._core.channel": ("Statistics",),
    "cmpi._core.contract": ("Shape",),
    "cmpi._ids": ("Pid", "Resources", "ExitStatus", "Capacity"),
    "cmpi.errors": (
        "CmpiError", "UsageError", "NotRunning", "ChannelExists", "ChannelBusy", "ContractMismatch",
        "NotPicklable", "NoCapacity", "NeverFits", "ChannelClosed", "EndOfChannel", "PeerClosed",
        "PeerExited", "LaunchError", "ProtocolError", "InternalError", "NameTaken", "TooManyRestarts",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AnyReceiver",
    "Broadcast",
    "Capacity",
    "ChannelBusy",
    "ChannelClosed",
    "ChannelExists",
    "Child",
    "CmpiError",
    "ContractMismatch",
    "EndOfChannel",
    "ExitStatus",
    "Exited",
    "InternalError",
    "LaunchError",
    "NameTaken",
    "NeverFits",
    "NoCapacity",
    "NotPicklable",
    "NotRunning",
    "Notices",
    "PeerClosed",
    "PeerExited",
    "Pid",
    "ProtocolError",
    "Receiver",
    "Resources",
    "Selected",
    "Sender",
    "Shape",
    "Statistics",
    "TooManyRestarts",
    "UsageError",
    "aspawn",
    "await_exit",
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
    "select",
    "spawn",
    "spawn_group",
    "supervise",
    "trap_exits",
    "try_spawn",
    "unlink",
    "unregister",
    "wait",
    "whereis",
    "world",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "slurm":
        return import_module("cmpi.slurm")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'cmpi' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
