"""The control frames about what processes wait for: between a process and the root."""

from __future__ import annotations

from cmpi._core.protocol.wire import frame

# -- rank -> root -----------------------------------------------------------------------


@frame(43, "IS")
class Blocked:
    """I do nothing but wait, for this; or (an epoch of 0) not any more."""

    epoch: int
    waits: list[str]


@frame(44, "IIQQ")
class StillBlocked:
    """The answer to AskBlocked: the epoch of the wait, or 0; and what was ever sent and received."""

    number: int
    epoch: int
    sent: int
    received: int


@frame(45, "s")
class Stacks:
    """The answer to AskStacks."""

    text: str


# -- root -> rank -----------------------------------------------------------------------


@frame(72, "I")
class AskBlocked:
    """Are you still blocked? Look around first."""

    number: int


@frame(73, "")
class AskStacks:
    """What does each of your threads do?"""
