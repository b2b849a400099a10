"""Frames between a process and the root about what processes wait for. Part of `process_root`."""

from __future__ import annotations

from cmpi._core.protocol.wire import U32, U64, frame, registry

# -- process -> root --------------------------------------------------------------------


@frame
class Blocked:
    """This process is blocked, waiting for these; or, with an epoch of 0, no longer blocked."""

    epoch: U32
    waits: list[str]


@frame
class StillBlocked:
    """The answer to AskBlocked: the epoch of the wait, or 0, and how much was sent and received in all."""

    number: U32
    epoch: U32
    sent: U64
    received: U64


@frame
class Stacks:
    """The answer to AskStacks."""

    text: str


# -- root -> process --------------------------------------------------------------------


@frame
class AskBlocked:
    """Asks whether the process is still blocked; it must first receive whatever has arrived."""

    number: U32


@frame
class AskStacks:
    """Asks what each thread of the process is doing."""


TO_ROOT = registry({43: Blocked, 44: StillBlocked, 45: Stacks})
TO_PROCESS = registry({72: AskBlocked, 73: AskStacks})
