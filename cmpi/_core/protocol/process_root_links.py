"""Frames between a process and the root about Erlang's links and names. Part of `process_root`."""

from __future__ import annotations

from cmpi._core.protocol.wire import U32, frame, registry

# -- process -> root --------------------------------------------------------------------


@frame
class LinkWith:
    """Link me with this process, or (not `on`) no more."""

    pid: U32
    on: bool


@frame
class Trap:
    """I want to hear of the ends of those linked with me, rather than end with them; or no more."""

    on: bool


@frame
class Register:
    """This process is to have this name."""

    request: U32
    name: str
    pid: U32


@frame
class Unregister:
    """Nobody is to have this name any more."""

    name: str


@frame
class WhereIs:
    """Who has this name? If nobody has and `wait`, answer when somebody does."""

    request: U32
    name: str
    wait: bool


# -- root -> process --------------------------------------------------------------------


@frame
class NameIs:
    """The process that has the name, or NO_PID."""

    request: U32
    pid: U32


@frame
class LinkedBy:
    """This process has linked itself with you, or does so no more."""

    pid: U32
    on: bool


TO_ROOT = registry({48: LinkWith, 49: Trap, 68: Register, 69: Unregister, 74: WhereIs})
TO_PROCESS = registry({70: NameIs, 71: LinkedBy})
