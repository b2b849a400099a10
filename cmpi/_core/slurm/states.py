"""Reads Slurm's information on batch jobs. Pure.

Source: squeue(1) "JOB STATE CODES", scontrol(1) "show job".
"""

from __future__ import annotations

import re

from cmpi._base.frozen import frozen

TASKS = "%i|%T|%r|%N"  # squeue's output format for `parse_tasks`

WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
GOING = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")

# What ended a job, if not the program itself: in words, and cmpirun's exit code for it.
VERDICTS = {
    "TIMEOUT": ("its time limit was reached; ask for more with --time", 124),
    "OUT_OF_MEMORY": ("it used more memory than it had asked for; ask for more with --mem-per-cpu", 137),
    "CANCELLED": ("it was cancelled", 143),
    "NODE_FAIL": ("a node failed", 1),
    "PREEMPTED": ("a job of higher priority took its place", 1),
    "DEADLINE": ("it could not end before its deadline", 1),
    "BOOT_FAIL": ("a node did not boot", 1),
}


@frozen
class State:
    """A job's state, as Slurm reports it. `name` is the state, `code` and `signal` are the script's,
    `folder` is where it was submitted; `array`: it is a task of a job array."""

    name: str
    reason: str = ""
    nodes: str = ""
    code: int = 0
    signal: int = 0
    folder: str = ""
    array: bool = False

    @property
    def waiting(self) -> bool:
        """Whether the job is waiting to start."""
        return self.name in WAITING

    @property
    def ended(self) -> bool:
        """Whether the job has ended for good."""
        return self.name not in (*WAITING, *GOING)


def parse_job(text: str) -> State | None:
    """Parse the output of `scontrol show job --oneliner`; None if it has no state.

    >>> state = parse_job("JobId=7 JobState=FAILED Reason=NonZeroExitCode ExitCode=3:0 NodeList=n1")
    >>> state.name, state.code, state.ended
    ('FAILED', 3, True)
    """
    fields = dict(word.split("=", 1) for word in text.split() if "=" in word)
    if "JobState" not in fields:
        return None
    code, _, signal = fields.get("ExitCode", "0:0").partition(":")
    nodes = fields.get("NodeList", "")
    return State(
        fields["JobState"].partition("+")[0],
        fields.get("Reason", "").replace("None", ""),
        "" if nodes == "(null)" else nodes,
        int(code or 0),
        int(signal or 0),
        next(iter(re.findall(r"WorkDir=(.*?)(?: \w+=|$)", text, re.M)), ""),
        "ArrayJobId" in fields,
    )


def unknown(complaint: str) -> bool:
    """Whether scontrol or squeue complained that there is no such job, which counts as an answer; other
    complaints do not."""
    return "Invalid job id" in complaint or "Invalid job array" in complaint


def exit_code(state: State, written: int | None) -> int:
    """cmpirun's exit code for a job that has ended; `written` is the exit code that its script recorded, if
    it did."""
    if state.name == "COMPLETED":
        return 0
    if state.name in VERDICTS:
        return VERDICTS[state.name][1]
    if written:
        return written
    return 128 + state.signal if state.signal else state.code or 1


def parse_tasks(text: str) -> dict[str, State]:
    """Parse jobs and tasks of arrays in the output of `squeue --array` with the format `TASKS`.

    >>> tasks = parse_tasks("7_0|RUNNING|None|n1\\n7_1|PENDING|Priority|\\n")
    >>> tasks["7_0"].nodes, tasks["7_1"].name, tasks["7_1"].reason
    ('n1', 'PENDING', 'Priority')
    """
    rows = (line.split("|") for line in text.splitlines() if line.count("|") == 3)
    return {
        task: State(name, "" if reason == "None" else reason, nodes.strip())
        for task, name, reason, nodes in rows
    }


def ahead(text: str, job: str) -> int:
    """How many jobs wait before this one, from the output of `squeue --states=PENDING --sort=-p,i -o
    %i`."""
    waiting = text.split()
    return waiting.index(job) if job in waiting else 0
