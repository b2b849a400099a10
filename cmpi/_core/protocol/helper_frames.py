"""The control frames between the root and its helpers: fork servers, ushers, and deputies elsewhere."""

from __future__ import annotations

from cmpi._core.protocol.wire import frame

FORK_SERVER, SPAWN_COMPLETER, HOST_SPAWNER = 1, 2, 3  # roles in HelperUp


@frame(66, "Bss")
class HelperUp:
    """A helper stands ready; `fault` says why it could not."""

    role: int
    host: str
    fault: str


@frame(67, "Is")
class PortIs:
    """The port that completes this start, before its monitor is there to tell it."""

    start: int
    port: str


@frame(61, "s")
class ConnectAndLeave:
    """Connect to this port, and disconnect."""

    port: str


@frame(63, "SS")
class Load:
    """Import these modules before the next fork."""

    modules: list[str]
    path: list[str]


@frame(64, "s")
class Complaint:
    """Something a helper could not do; for the person's eyes."""

    text: str
