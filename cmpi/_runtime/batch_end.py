"""Protects cmpi's own processes at the end of a Slurm job, when Slurm sends SIGTERM to every process of it.

Slurm does so for `scancel`, at the time limit, and on preemption, and sends SIGKILL KillWait seconds later
(slurm.conf(5); 30 by default). The program's processes have then received the signal, and cmpirun ends the
rest after --grace. Until then cmpi's own processes must live: if MPI's launcher, the root or its helpers
ended, the program would end with them.
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
    """Ignore SIGTERM in a Slurm job; elsewhere do nothing."""
    if in_batch_job():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def blocked_in_mpiexec(variables: Mapping[str, str]) -> list[int]:
    """The signals to block in an mpiexec with this environment; it never unblocks them.

    Open MPI's mpiexec aborts the job at its eleventh SIGPIPE, and gets one for each process that is killed
    while they set up their connection. With SIGPIPE blocked, it sees the write error instead.
    """
    return [signal.SIGPIPE, *([signal.SIGTERM] if environment.BATCH in variables else [])]
