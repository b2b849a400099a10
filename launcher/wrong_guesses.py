"""Advice for options that cmpirun does not have; most of them are other launchers'. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_RANKS = "-n N starts N ranks in total"
_HOSTS = "name the hosts and their numbers of ranks with --host a:4,b:4 or --hostfile FILE"
_SPREAD = (
    "--map-by node deals ranks out to the hosts in turn; --host a:4 or slots=4 in a hostfile sets how many"
)
_MPI = "pass options of mpiexec itself in one string: --mpi-args='{} ...'"
_TORCH = (
    "cmpirun sets RANK, WORLD_SIZE, MASTER_ADDR and the like for each rank; for several hosts see --host"
)
_FOLDER = "ranks start in the folder in which cmpirun was started: cd there first"

_ANSWERS = {
    _RANKS: (
        "--np --n -c --ntasks --nproc --nprocs --num-processes --num_processes -j --nproc_per_node"
        " --nproc-per-node --processes --workers"
    ),
    _HOSTS: "-hosts --hosts -hostfile -machinefile --machinefile -f --nnodes",
    _SPREAD: "-ppn --ppn -perhost -npernode --npernode --ntasks-per-node -rr",
    _MPI: (
        "--bind-to -bind-to --mca -mca --report-bindings --tag-output -genv -env --rank-by --cpu-set"
        " --with-ft --display --prtemca --pmixmca -prepend-rank -launcher -iface"
    ),
    _TORCH: (
        "--node_rank --node-rank --master_addr --master-addr --master_port --master-port --rdzv_backend"
        " --rdzv-backend --rdzv_endpoint --rdzv-endpoint --rdzv_id --rdzv-id --standalone --max_restarts"
        " --max-restarts"
    ),
    _FOLDER: "--wdir -wdir -wd --cwd --chdir -D",
    "ranks inherit the environment of cmpirun: NAME=value cmpirun ...": "-x --export -envall",
    "not needed: cmpirun starts more ranks than cores": "--oversubscribe --overcommit --use-hwthread-cpus",
    "not needed: root may run cmpirun": "--allow-run-as-root",
    "timeout 60 cmpirun ... ends a job that takes longer": "--timeout",
    "did you mean --verbose?": "-v",
    "did you mean --version?": "-V",
    "did you mean --slurm?": "--batch --sbatch",
}
_ANSWER_TO = {option: answer for answer, options in _ANSWERS.items() for option in options.split()}


def unknown_option(arguments: list[str], takes_value: Mapping[str, bool]) -> str:
    """Return the first option before the program that cmpirun does not have, or "".

    >>> unknown_option(["-n4", "--host", "a", "--np", "2", "prog", "-x"], {"-n": True, "--host": True})
    '--np'
    """
    words = iter(arguments)
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            break
        name, given, _ = word.partition("=")
        if name in takes_value:
            if takes_value[name] and not given:
                next(words, None)
        elif word.startswith("--") or not takes_value.get(word[:2]):
            return name
    return ""


def answer(option: str, known: list[str]) -> str:
    """Return the message for an option that cmpirun does not have.

    >>> answer("--outptu", ["--output", "--host"])
    'there is no option --outptu; did you mean --output?'
    """
    advice = _ANSWER_TO.get(option, "").replace("{}", option)
    if not advice:
        import difflib  # only where something is wrong

        near = difflib.get_close_matches(f"--{option.lstrip('-')}", known, 1, 0.7)
        advice = f"did you mean {near[0]}?" if near else "see cmpirun --help"
    return f"there is no option {option}; {advice}"
