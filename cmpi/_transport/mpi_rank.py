"""The rank of a process in its MPI world, before MPI is started."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def rank_of(environment: Mapping[str, str]) -> int:
    """The rank of the process with this environment in its world."""
    for name in ("PMIX_RANK", "PMI_RANK"):
        if name in environment:
            return int(environment[name])
    return 0
