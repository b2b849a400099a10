"""Starts an mpiexec."""

from __future__ import annotations

import os

from cmpi._runtime.batch_end import blocked_in_mpiexec


def start(argv: list[str], environment: dict[str, str], out: int, err: int) -> int:
    """Start mpiexec in a session of its own, because cmpirun passes on Ctrl-C itself. Returns its pid.

    Args:
        argv: Its command line.
        environment: Its environment, which the processes that it starts here inherit.
        out, err: The descriptors for its stdout and stderr.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, out, 1),
        (os.POSIX_SPAWN_DUP2, err, 2),
    ]
    blocked = blocked_in_mpiexec(environment)
    return os.posix_spawn(argv[0], argv, environment, file_actions=actions, setsid=True, setsigmask=blocked)
