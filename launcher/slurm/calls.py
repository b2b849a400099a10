"""What cmpirun asks of Slurm once, and says of it."""

from __future__ import annotations

import os
import sys

from cmpi._core.slurm import states
from cmpi._runtime.slurm_question import Answer, ask
from cmpi.errors import LaunchError
from cmpi.launcher.slurm import script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.slurm.states import State
    from cmpi.launcher.hosts.hostfile import HostSpec

SUBMIT_S = (
    120.0  # for which sbatch may think; a busy controller takes its time, and a job must not come twice
)


def say(text: str) -> None:
    """A line of cmpirun's own."""
    print(f"cmpirun: {text}", file=sys.stderr, flush=True)


def understood(answer: Answer) -> bool:
    """Whether scontrol or squeue answered: with a job, or with that there is none."""
    return answer.code == 0 or states.unknown(answer.complaint)


def show(job: str) -> State | None:
    """What Slurm says of a job; None if it knows none of this number.

    Raises:
        LaunchError: Slurm does not answer.

    Blocks: for the answer, 10 seconds at most.
    """
    answer = ask("scontrol", "show", "job", "--oneliner", job)
    if answer.code is None or not understood(answer):
        raise LaunchError(
            f"Slurm does not answer, so nothing is known of job {job} "
            f"({answer.complaint}). Ask again later; cmpirun --logs {job} shows what it has written."
        )
    return states.parse_job(answer.out)


def cancel(job: str) -> int:
    """Cancel a job."""
    answer = ask("scancel", job)
    if answer.code is None:
        raise LaunchError(f"it is not known whether job {job} is cancelled ({answer.complaint}); try again")
    if answer.code or answer.complaint:
        raise LaunchError(f"scancel {job}: {answer.complaint}")
    say(f"job {job} is being cancelled")
    return 0


def allocated() -> list[HostSpec]:
    """The nodes of the Slurm job that this is part of, with the ranks that it was given for each.

    Raises:
        LaunchError: Slurm does not say.
    """
    answer = ask("scontrol", "show", "hostnames", os.environ.get("SLURM_JOB_NODELIST", ""))
    if answer.code or not answer.out.split():
        raise LaunchError(
            f"cannot tell the nodes of this job: scontrol says: {answer.complaint or 'nothing'}"
        )
    return script.allocation(answer.out.split(), os.environ)


def deadline_s() -> float:
    """When the Slurm job that this is part of will be ended, in seconds since 1970; 0 if never, or if
    Slurm does not say."""
    try:
        return script.parse_end(
            ask("scontrol", "show", "job", "--oneliner", os.environ["SLURM_JOB_ID"]).out
        )
    except LaunchError:
        return 0.0
