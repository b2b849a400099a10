"""The numbers of starts: each is of what MPI was asked to start at a time, and says of which kind it is.

A monitor learns its number before anything else, and acts accordingly.
"""

from __future__ import annotations

RANKS = 0  # the ranks of the job's own program
SPAWNED = 1  # from here on: closures that processes have spawned
DEPLOYED = 1 << 30  # from here on: the ranks of programs that were deployed into the job
SLOTS = 1 << 31  # from here on: slots, in which closures run (see `slots.py`)


def is_program(start: int) -> bool:
    """Whether it starts a user's program, rather than closures.

    >>> is_program(RANKS), is_program(7), is_program(DEPLOYED + 7), is_program(SLOTS)
    (True, False, True, False)
    """
    return start == RANKS or DEPLOYED <= start < SLOTS
