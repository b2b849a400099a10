"""Frames between the root and its helpers: fork servers, spawn completers, fabric agents, and spawners on
other hosts."""

from __future__ import annotations

from cmpi._core.protocol.wire import U8, U32, frame, registry

FORK_SERVER, SPAWN_COMPLETER, HOST_SPAWNER, FABRIC_AGENT = 1, 2, 3, 4  # roles in HelperUp
FABRIC_SOCKET = "fabric"  # in the job's folder: where the fabric agent of a host listens for processes

# -- helper -> root ---------------------------------------------------------------------


@frame
class HelperUp:
    """A helper is ready; or `fault` says why it is not."""

    role: U8
    host: str
    fault: str


@frame
class PortIs:
    """The port that completes this start, sent by the fork server before the monitor can send it."""

    start: U32
    port: str


@frame
class Complaint:
    """A message for the user about something that a helper could not do."""

    text: str


@frame
class SpawnFailed:
    """MPI could not start these processes. Sent by host spawners."""

    start: U32
    reason: str


@frame
class EndedUnheard:
    """A process on this host has ended before the root heard of it; `port` completes its spawn.

    Sent by host spawners. `what` is its name in `pid_files`.
    """

    what: str
    port: str


@frame
class HasEnded:
    """The answer to TellEnd."""

    os_pid: U32


@frame
class Carries:
    """This host's fabric agent carries connections from now on."""


# -- root -> fabric agent ---------------------------------------------------------------


@frame
class GuardBy:
    """Listen for processes that know this key."""

    key: bytes


# -- root -> spawn completer ------------------------------------------------------------


@frame
class ConnectAndLeave:
    """Connect to this port, and disconnect."""

    port: str


# -- root -> fork server ----------------------------------------------------------------


@frame
class Load:
    """Import these modules before the next fork."""

    modules: list[str]
    path: list[str]


# -- root -> host spawner ---------------------------------------------------------------


@frame
class SpawnThere:
    """Have MPI start this many processes, with or without the fork server."""

    start: U32
    n: U32
    forked: bool


@frame
class StartForkServer:
    """Start a fork server with this `Interpreter`."""

    python: str
    flags: list[str]
    settings: list[str]


@frame
class IsUp:
    """The root has heard of this process, whose name in `pid_files` is `what`."""

    what: str


@frame
class TellEnd:
    """Tell when this process on your host, by its pid there, has ended."""

    os_pid: U32


TO_ROOT = registry(
    {
        64: Complaint,
        66: HelperUp,
        67: PortIs,
        120: SpawnFailed,
        173: EndedUnheard,
        176: HasEnded,
        181: Carries,
    }
)
TO_FABRIC_AGENT = registry({182: GuardBy})
TO_SPAWN_COMPLETER = registry({61: ConnectAndLeave})
TO_FORK_SERVER = registry({63: Load})
TO_HOST_SPAWNER = registry({118: SpawnThere, 119: StartForkServer, 174: IsUp, 175: TellEnd})
