"""Numbers of starts. Each call that starts processes through MPI has a number, which also tells its kind.

A monitor learns its number before anything else, and acts accordingly.
"""

from __future__ import annotations

RANKS = 0  # the ranks of the job's own program
SPAWNED = 1  # from here on: closures that processes have spawned
DEPLOYED = 1 << 30  # from here on: the ranks of programs that were deployed into the job
SLOTS = 1 << 31  # from here on: slots, in which closures run (see `slots.py`)


def is_program(start: int) -> bool:
    """Whether this start is of a user's program, not of closures.

    >>> is_program(RANKS), is_program(7), is_program(DEPLOYED + 7), is_program(SLOTS)
    (True, False, True, False)
    """
    return start == RANKS or DEPLOYED <= start < SLOTS
