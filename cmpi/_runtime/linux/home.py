"""The home folder in the environment."""

from __future__ import annotations

import os


def ensure() -> None:
    """Set HOME as a login does, if it is missing: Open MPI does not start without it.

    Services, containers and Slurm jobs with --export=NONE may lack it. The folder need not exist.
    """
    if not os.environ.get("HOME"):
        os.environ.pop("HOME", None)
        home = os.path.expanduser("~")  # from the user database
        os.environ["HOME"] = home if home != "~" else "/"
