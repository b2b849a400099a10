"""Frames between a process and the root about Erlang's links and names. Part of `process_root`."""

from __future__ import annotations

from cmpi._core.protocol.wire import U32, frame, registry

# -- process -> root --------------------------------------------------------------------


@frame
class LinkWith:
    """Link the sender with this process; with `on` False, undo that."""

    pid: U32
    on: bool


@frame
class Trap:
    """The sender wants notices of the ends of linked processes, instead of ending with them; or no
    longer."""

    on: bool


@frame
class Register:
    """Give this process this name."""

    request: U32
    name: str
    pid: U32


@frame
class Unregister:
    """Release this name."""

    name: str


@frame
class WhereIs:
    """Asks which process has this name. With `wait`, the answer comes when a process has it."""

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
    """Another process has linked itself with the receiver, or has undone that."""

    pid: U32
    on: bool


TO_ROOT = registry({48: LinkWith, 49: Trap, 68: Register, 69: Unregister, 74: WhereIs})
TO_PROCESS = registry({70: NameIs, 71: LinkedBy})
