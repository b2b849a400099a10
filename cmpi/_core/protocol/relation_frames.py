"""The control frames about links, in Erlang's sense, and names: between a process and the root."""

from __future__ import annotations

from cmpi._core.protocol.wire import frame

# -- rank -> root -----------------------------------------------------------------------


@frame(48, "I?")
class LinkWith:
    """Link me with this process, or (not `on`) no more."""

    pid: int
    on: bool


@frame(49, "?")
class Trap:
    """I want to hear of the ends of those linked with me, rather than end with them; or no more."""

    on: bool


@frame(68, "IsI")
class Register:
    """This process is to have this name."""

    request: int
    name: str
    pid: int


@frame(69, "s")
class Unregister:
    """Nobody is to have this name any more."""

    name: str


@frame(74, "Is?")
class WhereIs:
    """Who has this name? If nobody has and `wait`, answer when somebody does."""

    request: int
    name: str
    wait: bool


# -- root -> rank -----------------------------------------------------------------------


@frame(70, "II")
class NameIs:
    """The process that has the name, or NO_PID."""

    request: int
    pid: int


@frame(71, "I?")
class LinkedBy:
    """This process has linked itself with you, or does so no more."""

    pid: int
    on: bool
