"""Single questions and commands of cmpirun to Slurm."""

from __future__ import annotations

import getpass
import os
import re
import sys

from cmpi._core.slurm import states
from cmpi._runtime.slurm_question import Answer, ask
from cmpi.errors import LaunchError
from cmpi.launcher.slurm import script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.slurm.states import State
    from cmpi.launcher.hosts.hostfile import HostSpec

# How long sbatch may take. A busy controller is slow, and giving up early might submit a job twice.
SUBMIT_S = 120.0


def say(text: str) -> None:
    """Print a line of cmpirun's own to stderr."""
    print(f"cmpirun: {text}", file=sys.stderr, flush=True)


def understood(answer: Answer) -> bool:
    """Whether scontrol or squeue answered at all, even if only that there is no such job."""
    return answer.code == 0 or states.unknown(answer.complaint)


def show(job: str) -> State | None:
    """Ask Slurm for a job's state; None if it knows no job of this number.

    Raises:
        LaunchError: Slurm does not answer.

    Blocks: for the answer, 10 seconds at most.
    """
    answer = ask("scontrol", "show", "job", "--oneliner", job)
    if answer.code is None or not understood(answer):
        raise LaunchError(
            f"Slurm does not answer, so the state of job {job} is not known ({answer.complaint}). "
            f"Try again later; cmpirun --logs {job} shows its output so far."
        )
    return states.parse_job(answer.out)


def check_number(option: str, job: str) -> None:
    """Refuse what cannot be the number of a job, of a task or of a component. Raises: LaunchError."""
    if not re.fullmatch(r"\d+(_(\d+|\[.+\]))?(\+\d+)?", job):
        other = ", or a deployment such as lab/3f2a001 (cmpirun --jobs lists them)"
        raise LaunchError(
            f"--{option} {job}: expected the number of a Slurm job, such as 1234 or 1234_5"
            f"{other if option == 'attach' else ''}"
        )


def running_on(node: str, name: str) -> list[str]:
    """The numbers of this user's jobs that run on a node, those of this name first; [] if Slurm does not
    know, or is not here. Blocks: for Slurm's answer."""
    of = ("--user", getpass.getuser(), "--states=RUNNING", f"--nodelist={node}")
    try:
        answer = ask("squeue", "--noheader", *of, "--format=%A|%j")
    except LaunchError:
        return []
    rows = [line.partition("|") for line in answer.out.split("\n") if line] if answer.code == 0 else []
    return [number for number, _, _ in sorted(rows, key=lambda row: row[2] != name)]


def cancel(job: str) -> int:
    """Cancel a job."""
    answer = ask("scancel", job)
    if answer.code is None:
        raise LaunchError(
            f"Slurm did not confirm that job {job} is cancelled ({answer.complaint}); try again"
        )
    if answer.code or answer.complaint:
        raise LaunchError(f"scancel did not cancel job {job}: {answer.complaint}")
    say(f"job {job} is being cancelled")
    return 0


def allocated() -> list[HostSpec]:
    """The nodes of the Slurm job that cmpirun runs in, with the number of ranks allocated on each.

    Raises:
        LaunchError: Slurm does not tell the nodes.
    """
    return script.allocation(hostnames(os.environ.get("SLURM_JOB_NODELIST", "")), os.environ)


def hostnames(nodes: str) -> list[str]:
    """Expand Slurm's short form of a list of nodes. Raises: LaunchError: Slurm does not answer."""
    answer = ask("scontrol", "show", "hostnames", nodes)
    if answer.code or not answer.out.split():
        raise LaunchError(
            f"cannot find out the nodes of a Slurm job; scontrol said: {answer.complaint or 'nothing'}. "
            "Name them with --host or --hostfile."
        )
    return answer.out.split()


def deadline_s() -> float:
    """When Slurm will end the job that cmpirun runs in, in seconds since 1970; 0: never, or not known."""
    try:
        return script.parse_end(
            ask("scontrol", "show", "job", "--oneliner", os.environ["SLURM_JOB_ID"]).out
        )
    except LaunchError:
        return 0.0
