"""Frames between a guest and the root: those of `process_root`, and two before them; and to stop a job.

A guest is a process of the job that the job has not started. It has no monitor, but a connection of its own
to the root.
"""

from __future__ import annotations

from cmpi._core.protocol import process_root
from cmpi._core.protocol.wire import frame, registry

# -- guest -> root ----------------------------------------------------------------------


@frame
class StopJob:
    """The first and only frame of a user's command that wants the job to end."""


@frame
class GuestUp:
    """The first frame of a guest: what it is, in words."""

    label: str


# -- root -> guest ----------------------------------------------------------------------


@frame
class GuestMayJoin:
    """The answer to GuestUp: send Join. `shared_memory` is the job's folder there."""

    shared_memory: str


TO_ROOT = registry({131: GuestUp, 136: StopJob, **process_root.TO_ROOT})
TO_GUEST = registry({133: GuestMayJoin})
