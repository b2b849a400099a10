"""A Slurm batch job: its script, and what Slurm says about it. Pure.

Source: sbatch(1), squeue(1) "JOB STATE CODES", scontrol(1) "show job".
"""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi.launcher.hosts.hostfile import HostSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = ".cmpi"  # in the working folder: scripts, output and exit codes of its batch jobs

WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
GOING = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")

# What ended a job, if it was not the program itself: in words, and cmpirun's exit code for it.
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
class Batch:
    """What the person asked of Slurm; "": nothing."""

    time: str = ""
    partition: str = ""
    account: str = ""
    mem_per_cpu: str = ""
    arguments: list[str] = []
    nodes: int = 1
    requeue: bool = False
    array: str = ""


def script(batch: Batch, n: int, name: str, cwd: str, command: list[str]) -> str:
    """The batch script that runs `command` (a cmpirun) with n slots.

    >>> print(script(Batch(time="10:00"), 2, "job.py", "/w", ["cmpirun", "-n", "2", "job.py"]))
    #!/bin/bash
    # Written by cmpirun --slurm. To submit it again: sbatch FILE
    #SBATCH --job-name=job.py
    #SBATCH --nodes=1
    #SBATCH --ntasks=2
    #SBATCH --time=10:00
    #SBATCH --chdir=/w
    #SBATCH --output=.cmpi/%j.out
    #SBATCH --error=.cmpi/%j.err
    #SBATCH --no-requeue
    <BLANKLINE>
    trap : TERM  # Slurm's SIGTERM; cmpirun, which gets it too, gives the program its grace
    cmpirun -n 2 job.py
    code=$?
    echo $code > .cmpi/$SLURM_JOB_ID.code
    exit $code
    <BLANKLINE>
    """
    import shlex  # 6 ms, on the path of every launch

    options = [
        ("job-name", name),
        ("nodes", str(batch.nodes)),
        # More nodes than ranks are for what the ranks will spawn.
        ("ntasks", str(n)) if n >= batch.nodes else ("ntasks-per-node", "1"),
        ("time", batch.time),
        ("partition", batch.partition),
        ("account", batch.account),
        ("mem-per-cpu", batch.mem_per_cpu),
        ("array", batch.array),
        ("chdir", cwd),
        ("output", f"{FOLDER}/{'%A_%a' if batch.array else '%j'}.out"),
        ("error", f"{FOLDER}/{'%A_%a' if batch.array else '%j'}.err"),
        ("open-mode", "append" if batch.requeue else ""),
    ]
    lines = [
        "#!/bin/bash",
        "# Written by cmpirun --slurm. To submit it again: sbatch FILE",
    ]
    lines += [f"#SBATCH --{option}={_quoted(value)}" for option, value in options if value]
    lines += [f"#SBATCH --{'' if batch.requeue else 'no-'}requeue"]
    lines += [f"#SBATCH {argument}" for argument in batch.arguments]
    job = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" if batch.array else "$SLURM_JOB_ID"
    lines += [
        "",
        "trap : TERM  # Slurm's SIGTERM; cmpirun, which gets it too, gives the program its grace",
        shlex.join(command),
        "code=$?",
        f"echo $code > {FOLDER}/{job}.code",
        "exit $code",
    ]
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    """As sbatch reads its options: by words, unless quoted."""
    return f'"{value}"' if any(c in value for c in " \t#") else value


def spread(text: str) -> list[int]:
    """A number for each node, out of Slurm's short form.

    Source: srun(1), SLURM_TASKS_PER_NODE.

    >>> spread("2(x3),1")
    [2, 2, 2, 1]
    """
    counts: list[int] = []
    for part in text.split(","):
        number, _, times = part.partition("(x")
        counts += [int(number)] * int(times.rstrip(")") or 1)
    return counts


def allocation(names: list[str], environment: Mapping[str, str]) -> list[HostSpec]:
    """The nodes of the job that this is part of, and the ranks that it was given for each.

    Where no number of tasks was asked for (salloc -N 2), a rank for each CPU.
    """
    text = environment.get("SLURM_TASKS_PER_NODE") or environment.get("SLURM_JOB_CPUS_PER_NODE", "")
    counts = spread(text) if text else []
    counts += [0] * (len(names) - len(counts))
    return [HostSpec(name, name, slots) for name, slots in zip(names, counts)]


@frozen
class State:
    """What Slurm says of a job. `name` is its state; `code` and `signal` are of its script."""

    name: str
    reason: str = ""
    nodes: str = ""
    code: int = 0
    signal: int = 0

    @property
    def waiting(self) -> bool:
        """It has not begun."""
        return self.name in WAITING

    @property
    def ended(self) -> bool:
        """It will not go on."""
        return self.name not in (*WAITING, *GOING)


def parse_job(text: str) -> State | None:
    """The state out of `scontrol show job --oneliner`; None if there is none in it.

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
    )


def parse_end(text: str) -> float:
    """When a job will be ended, in seconds since 1970, out of `scontrol show job`; 0: it is not said.

    >>> parse_end("JobId=7 EndTime=Unknown Deadline=N/A"), parse_end("EndTime=2026-01-02T03:04:05 ") > 1.7e9
    (0.0, True)
    """
    import time

    field = next((word for word in text.split() if word.startswith("EndTime=")), "")
    try:
        return time.mktime(time.strptime(field, "EndTime=%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0


def exit_code(state: State, written: int | None) -> int:
    """cmpirun's exit code for a job that has ended; `written` is what its script wrote down, if it did."""
    if state.name == "COMPLETED":
        return 0
    if state.name in VERDICTS:
        return VERDICTS[state.name][1]
    if written:
        return written
    return 128 + state.signal if state.signal else state.code or 1


def parse_tasks(text: str) -> dict[str, State]:
    """The tasks of a job array, out of `squeue --array --format="%i %T"`.

    >>> {task: state.name for task, state in parse_tasks("7_0 RUNNING\\n7_1 PENDING\\n").items()}
    {'7_0': 'RUNNING', '7_1': 'PENDING'}
    """
    pairs = (line.split()[:2] for line in text.splitlines() if len(line.split()) >= 2)
    return {task: State(name) for task, name in pairs}


def ahead(text: str, job: str) -> int:
    """How many jobs wait before this one, out of `squeue --states=PENDING --sort=-p,i -o %i`."""
    waiting = text.split()
    return waiting.index(job) if job in waiting else 0
