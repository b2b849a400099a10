"""The lines of a batch script that end the program ahead of the time limit, and queue the job again. Pure.

Slurm sends SIGUSR1 to the batch script alone (sbatch(1), "--signal"). The script passes it on to cmpirun as
SIGTERM, which gives the program its grace period, as at any other end. Exit code 143 shows that the program
was still running; if it had ended by itself, the job is over.
"""

from __future__ import annotations

LEAST_S = 20  # the shortest time that can be asked for
KEPT_S = 5  # of it, for cmpirun to end and for Slurm to be asked


def signal(before_s: float) -> str:
    """The value of sbatch's --signal. Slurm may send it up to a minute too early."""
    return f"B:USR1@{before_s:.0f}"


def grace_s(before_s: float) -> float:
    """The program's grace period."""
    return before_s - KEPT_S


def run(command: str) -> list[str]:
    """Run the command, with its exit code in $code; bash handles signals only while it waits."""
    return [
        "trap 'ahead=yes; kill -TERM $program' USR1  # Slurm's, ahead of the time limit",
        f"{command} <&0 &",
        "program=$!",
        "wait $program",
        "while kill -0 $program 2>/dev/null; do wait $program; done  # a signal ends `wait` early",
        "wait $program",
        "code=$?",
        'if [ "$ahead" = yes ] && [ $code = 143 ]; then',
        '    echo "cmpirun: the time limit is near: job $SLURM_JOB_ID is queued again" >&2',
        "    trap - TERM",
        '    scontrol requeue "$SLURM_JOB_ID" && exit 0',
        "fi",
    ]
