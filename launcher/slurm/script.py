"""Writes the script of a Slurm batch job, and reads the allocation that it runs in. Pure.

Source: sbatch(1), srun(1).
"""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi._core.slurm import end_record
from cmpi.launcher.hosts.hostfile import HostSpec
from cmpi.launcher.slurm import environment, requeue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cmpi.launcher.slurm.own_lines import OwnOption

FOLDER = ".cmpi"  # in the working folder: scripts, output and exit codes of its batch jobs


@frozen
class BatchOptions:
    """The user's options for Slurm; "": not given."""

    time: str = ""
    partition: str = ""
    account: str = ""
    mem_per_cpu: str = ""
    arguments: list[str] = []
    nodes: int = 1
    requeue: bool = False
    array: str = ""
    name: str = ""  # "": the program's
    after: str = ""  # jobs that must have succeeded first: "7:8"
    gpus_per_node: str = ""
    constraint: str = ""
    setup: list[str] = []  # lines of the script before the program, such as module loads
    own: list[OwnOption] = []  # from the program's own #SBATCH lines, for sbatch alone
    all_own: list[OwnOption] = []  # all of them, to find the one that sbatch refuses
    path: list[str] = []  # the line that sets PATH, if Slurm does not pass it on
    requeue_before_s: float = 0.0  # end the program so long before the time limit, and queue the job again


def script(batch: BatchOptions, n: int, name: str, cwd: str, command: list[str]) -> str:
    """The batch script that runs `command` (a cmpirun) with n slots.

    >>> print(script(BatchOptions(time="10:00"), 2, "job.py", "/w", ["cmpirun", "-n", "2", "job.py"]))
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
    rm -f .cmpi/$SLURM_JOB_ID.code
    trap signalled=yes TERM  # Slurm's; cmpirun, which gets it too, gives the program its grace
    cmpirun -n 2 job.py
    code=$?
    sizes=$(stat -Lc %s .cmpi/$SLURM_JOB_ID.out .cmpi/$SLURM_JOB_ID.err 2>/dev/null)
    echo $code ${signalled:-no} $sizes > .cmpi/$SLURM_JOB_ID.code.new
    mv .cmpi/$SLURM_JOB_ID.code.new .cmpi/$SLURM_JOB_ID.code
    exit $code
    <BLANKLINE>
    """
    again = batch.requeue or bool(batch.requeue_before_s)
    import shlex  # takes 6 ms, and every launch imports this module

    options = [
        ("job-name", batch.name or name),
        ("nodes", str(batch.nodes)),
        # If there are more nodes than ranks, the other nodes are for spawned processes.
        ("ntasks", str(n)) if n >= batch.nodes else ("ntasks-per-node", "1"),
        ("time", batch.time),
        ("partition", batch.partition),
        ("account", batch.account),
        ("mem-per-cpu", batch.mem_per_cpu),
        ("array", batch.array),
        ("dependency", f"afterok:{batch.after.replace(',', ':')}" if batch.after else ""),
        ("kill-on-invalid-dep", "yes" if batch.after else ""),
        ("gpus-per-node", batch.gpus_per_node),
        ("constraint", batch.constraint),
        ("chdir", cwd),
        ("output", f"{FOLDER}/{'%A_%a' if batch.array else '%j'}.out"),
        ("error", f"{FOLDER}/{'%A_%a' if batch.array else '%j'}.err"),
        ("open-mode", "append" if again else ""),
        ("signal", requeue.signal(batch.requeue_before_s) if batch.requeue_before_s else ""),
    ]
    lines = [
        "#!/bin/bash",
        "# Written by cmpirun --slurm. To submit it again: sbatch FILE",
    ]
    lines += [f"#SBATCH {option.text}" for option in batch.own]  # sbatch lets later ones win
    lines += [f"#SBATCH --{option}={_quoted(value)}" for option, value in options if value]
    lines += [f"#SBATCH --{'' if again else 'no-'}requeue"]
    lines += [f"#SBATCH {argument}" for argument in batch.arguments]
    job = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" if batch.array else "$SLURM_JOB_ID"
    lines += [
        "",
        f"rm -f {FOLDER}/{job}.code",
        "trap signalled=yes TERM  # Slurm's; cmpirun, which gets it too, gives the program its grace",
        *batch.path,
        *environment.setup(batch.setup),
        *(requeue.run(shlex.join(command)) if batch.requeue_before_s else [shlex.join(command), "code=$?"]),
        *end_record.shell(f"{FOLDER}/{job}"),
        "exit $code",
    ]
    return "\n".join(lines) + "\n"


def allocate(batch: BatchOptions, nodes: int, but: str) -> list[str]:
    """The sbatch command for a job that only holds `nodes` nodes, none of those in `but`.

    >>> allocate(BatchOptions(time="10:00"), 2, "n[1-2]")[2:6]
    ['--job-name=cmpi-nodes', '--nodes=2', '--ntasks-per-node=1', '--time=10:00']
    """
    options = [
        ("job-name", batch.name or "cmpi-nodes"),
        ("nodes", str(nodes)),
        ("ntasks-per-node", "1"),
        ("time", batch.time),
        ("partition", batch.partition),
        ("account", batch.account),
        ("mem-per-cpu", batch.mem_per_cpu),
        ("gpus-per-node", batch.gpus_per_node),
        ("constraint", batch.constraint),
        ("exclude", but),
        ("output", "/dev/null"),
    ]
    given = [f"--{option}={value}" for option, value in options if value]
    return ["sbatch", "--parsable", *given, "--no-requeue", *batch.arguments, "--wrap=exec sleep infinity"]


def _quoted(value: str) -> str:
    """Quote a value if sbatch would split it into words."""
    return f'"{value}"' if any(c in value for c in " \t#") else value


def spread(text: str) -> list[int]:
    """Expand Slurm's short form into a number for each node.

    Source: srun(1), SLURM_TASKS_PER_NODE.

    >>> spread("2(x3),1")
    [2, 2, 2, 1]
    """
    counts: list[int] = []
    for part in text.split(","):
        number, _, times = part.partition("(x")
        counts += [int(number)] * int(times.rstrip(")") or 1)
    return counts


def allocation(names: list[str], variables: Mapping[str, str]) -> list[HostSpec]:
    """The nodes of the Slurm job that cmpirun runs in, with the number of ranks allocated on each.

    If no number of tasks was requested (salloc -N 2), there is one rank for each CPU.
    """
    text = variables.get("SLURM_TASKS_PER_NODE") or variables.get("SLURM_JOB_CPUS_PER_NODE", "")
    counts = spread(text) if text else []
    counts += [0] * (len(names) - len(counts))
    return [HostSpec(name, name, slots) for name, slots in zip(names, counts)]


def parse_end(text: str) -> float:
    """Read from `scontrol show job` when the job will be ended, in seconds since 1970; 0: not given.

    >>> parse_end("JobId=7 EndTime=Unknown Deadline=N/A"), parse_end("EndTime=2026-01-02T03:04:05 ") > 1.7e9
    (0.0, True)
    """
    import time

    field = next((word for word in text.split() if word.startswith("EndTime=")), "")
    try:
        return time.mktime(time.strptime(field, "EndTime=%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0
