"""How a Slurm job ends: Slurm sends SIGTERM to every process of it, cmpi's own included.

It does so for `scancel`, at the time limit, and for a job of higher priority, and sends SIGKILL KillWait
seconds later (slurm.conf(5); 30 by default). The program has received the signal by then, and cmpirun ends
what is left after --grace. Until then cmpi's own processes have to stay: the launcher of MPI, the root, and
what helps it would take the program with them.
"""

from __future__ import annotations

import os

from cmpi._runtime import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
else:
    import _signal as signal  # without the enums of `signal`


def in_batch_job() -> bool:
    """Whether a SIGTERM to this process may be Slurm's, and was sent to the whole job."""
    return environment.BATCH in os.environ


def leave_sigterm_to_cmpirun() -> None:
    """Ignore SIGTERM in a Slurm job; elsewhere nothing is changed."""
    if in_batch_job():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def blocked_in_mpiexec(variables: Mapping[str, str]) -> list[int]:
    """The signals that an mpiexec with this environment is not to see; it never unblocks them.

    Open MPI's aborts the job at its eleventh SIGPIPE, and gets one for each process that is killed while
    the two get to know each other. Blocked, the signal is never seen, and the error that is left serves.
    """
    return [signal.SIGPIPE, *([signal.SIGTERM] if environment.BATCH in variables else [])]
