"""cmpirun's options for batch jobs on Slurm."""

from __future__ import annotations

import argparse
import os
import sys

from cmpi._base.frozen import frozen
from cmpi.errors import UsageError
from cmpi.launcher.option_types import checked, seconds, split
from cmpi.launcher.slurm import requeue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi.launcher.slurm.own_lines import OwnOption
    from cmpi.launcher.slurm.script import BatchOptions

MOST_BYTES = 65536  # of a script, in which to look for #SBATCH lines
ONLY = (
    "nodes",
    "time",
    "partition",
    "account",
    "mem_per_cpu",
    "slurm_args",
    "array",
    "requeue",
    "requeue_before",
    "job_name",
    "after",
    "gpus_per_node",
    "constraint",
    "setup",
)


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add them to cmpirun's parser."""
    group = parser.add_argument_group("batch jobs on Slurm")
    add = group.add_argument
    add(
        "--slurm",
        action="store_true",
        help="submit a batch job, show its output live, and exit with its exit code; #SBATCH lines at the "
        "top of the program's script count as options, and the command line overrides them",
    )
    add("--add-slurm", metavar="N", type=int, default=0,
        help="add N nodes to a job that runs on several hosts: ask Slurm for them, with --time, "
        "--partition and so on, and give them back on Ctrl-C, or when the job ends")  # fmt: skip
    add(
        "-N",
        "--nodes",
        metavar="N",
        type=int,
        default=0,
        help="number of nodes, for the ranks and the processes that they spawn (default 1)",
    )
    add("--time", metavar="T", default="", help="time limit, in sbatch's format: 10:00, 2-12:00:00")
    add("--partition", metavar="NAME", default="", help="the partition to run in")
    add("--account", metavar="NAME", default="", help="the account to charge")
    add("--mem-per-cpu", metavar="BYTES", default="", help="memory for each rank, in sbatch's format: 500M")
    add("--array", metavar="TASKS", default="",
        help="submit a job array, in sbatch's format: 0-9%%4 (each task sees "
        "SLURM_ARRAY_TASK_ID)")  # fmt: skip
    add("--requeue", action="store_true", help="run the job again if a node fails or the job is preempted")
    add("--requeue-before", metavar="SECONDS", type=checked(_before), default=0.0,
        help="so long before its time limit, end the program by SIGTERM, so that it saves its state, and "
        "queue the job again; SLURM_RESTART_COUNT counts how often")  # fmt: skip
    add("--job-name", metavar="NAME", default="", help="the name in the queue (default: the program's)")
    add("--after", metavar="JOBIDS", default="",
        help="start after these jobs, such as 7,8, have succeeded; cancel this one if any "
        "fails")  # fmt: skip
    add("--gpus-per-node", metavar="N", default="", help="GPUs, in sbatch's format: 2, a100:2")
    add("--constraint", metavar="FEATURES", default="", help="required node features, in sbatch's format")
    add("--setup", metavar="'LINE'", action="append", default=[],
        help="a script line to run before the program, such as 'module load gcc'; may be "
        "repeated")  # fmt: skip
    add("--slurm-args", metavar="'ARGS'", type=checked(split), action="extend", default=[],
        help="further options for sbatch, in one string")  # fmt: skip
    add("--detach", action="store_true", help="with --slurm or --in: print the name of the job, or of the "
        "deployment, and exit; see --attach")  # fmt: skip
    add("--on-interrupt", choices=("ask", "leave", "cancel"), default="ask",
        help="what Ctrl-C does to the batch job, or to what --attach shows (default: ask on a terminal, "
        "else leave it running)")  # fmt: skip
    add("--attach", metavar="JOBID", help="show the output of a submitted job until it ends, and exit with "
        "its exit code; or of a deployment: JOB/NUMBER, see --jobs")  # fmt: skip
    add(
        "--status",
        metavar="JOBID",
        nargs="?",
        const="",
        help="show the state of a job; without JOBID, of all jobs from this folder, or else of all "
        "your jobs",
    )
    add("--logs", metavar="JOBID", help="show a job's output so far")
    add("--cancel", metavar="JOBID", help="cancel a job")
    add("--clean", metavar="DAYS", nargs="?", const="",
        help="delete files in .cmpi of jobs that ended so many days ago or more (default 0)")  # fmt: skip


@frozen
class Own:
    """The options in a script's own #SBATCH lines."""

    arguments: list[str]  # as options of cmpirun, to be put before the command line's, which then win
    for_sbatch: list[OwnOption]
    options: list[OwnOption]


NO_OWN = Own([], [], [])


def read_own(argv: list[str], given: list[str]) -> Own:
    """Read the #SBATCH lines of the program's script, if it has some; `given` is the command line.

    Raises:
        UsageError: A line is wrong; the message names it.
    """
    path = next((word for word in argv if word.endswith(".py")), argv[0])
    try:
        with open(path, "rb") as file:
            head = file.read(MOST_BYTES)
    except OSError:
        return NO_OWN  # no script, or a program on PATH
    if not head.startswith(b"#"):
        return NO_OWN
    from cmpi.launcher.slurm import own_lines

    options = own_lines.parse(head.decode(errors="replace"), path)
    names = {option.partition("=")[0].lstrip("-") for word in given for option in word.split()}
    return Own(own_lines.as_ours(options), own_lines.for_sbatch(options, names), options)


def batch(options: argparse.Namespace, own: Own) -> BatchOptions:
    """The options for the batch job."""
    from cmpi.launcher.slurm import environment
    from cmpi.launcher.slurm.script import BatchOptions

    given = [*(option.text for option in own.for_sbatch), *options.slurm_args]
    exported = environment.exported(given, os.environ)
    return BatchOptions(
        options.time,
        options.partition,
        options.account,
        options.mem_per_cpu,
        options.slurm_args,
        options.nodes or 1,
        options.requeue,
        options.array,
        options.job_name,
        options.after,
        options.gpus_per_node,
        options.constraint,
        options.setup,
        own.for_sbatch,
        own.options,
        [] if exported else environment.path(os.path.dirname(sys.executable), os.environ),
        options.requeue_before,
    )


def inner(arguments: list[str]) -> list[str]:
    """The options that are not about Slurm."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_to(parser)
    parser.add_argument("--keeper")  # is a process of this host
    return parser.parse_known_args(arguments)[1]


def _before(text: str) -> float:
    before_s = seconds(text)
    if before_s < requeue.LEAST_S:
        raise UsageError(f"expected at least {requeue.LEAST_S} seconds, to save and end in; found {text!r}")
    return before_s
