"""The control frames about what MPI's launcher prints, between cmpirun and the root."""

from __future__ import annotations

from cmpi._core.protocol.wire import frame

# -- cmpirun -> root --------------------------------------------------------------------


@frame(5, "By")
class LauncherOutput:
    """Written to descriptor 1 or 2 by processes that the program itself started, by MPI_Comm_spawn."""

    fd: int
    data: bytes


@frame(6, "")
class AllOutput:
    """The answer to AskOutput: there is no more, for now."""


# -- root -> cmpirun --------------------------------------------------------------------


@frame(7, "")
class AskOutput:
    """The job is over: send what is left of LauncherOutput."""
