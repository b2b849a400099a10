"""Frames between a process and the root about what processes wait for. Part of `process_root`."""

from __future__ import annotations

from cmpi._core.protocol.wire import U32, U64, frame, registry

# -- process -> root --------------------------------------------------------------------


@frame
class Blocked:
    """I do nothing but wait, for this; or (an epoch of 0) not any more."""

    epoch: U32
    waits: list[str]


@frame
class StillBlocked:
    """The answer to AskBlocked: the epoch of the wait, or 0; and what was ever sent and received."""

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
    """Are you still blocked? Look around first."""

    number: U32


@frame
class AskStacks:
    """What does each of your threads do?"""


TO_ROOT = registry({43: Blocked, 44: StillBlocked, 45: Stacks})
TO_PROCESS = registry({72: AskBlocked, 73: AskStacks})
