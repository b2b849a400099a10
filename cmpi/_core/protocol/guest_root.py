"""Frames between a guest and the root, and to stop a job. After two frames of its own, a guest uses those
of `process_root`.

A guest is a process of the job that the job has not started. It has no monitor, but a connection of its own
to the root.
"""

from __future__ import annotations

from cmpi._core.protocol import process_root
from cmpi._core.protocol.wire import frame, registry

# -- guest -> root ----------------------------------------------------------------------


@frame
class StopJob:
    """The only frame of a command that asks the job to end."""


@frame
class GuestUp:
    """The first frame of a guest, with a description of it."""

    label: str


# -- root -> guest ----------------------------------------------------------------------


@frame
class GuestMayJoin:
    """The answer to GuestUp: send JoinJob. `shared_memory` is the job's folder there."""

    shared_memory: str


TO_ROOT = registry({131: GuestUp, 136: StopJob, **process_root.TO_ROOT})
TO_GUEST = registry({133: GuestMayJoin})
