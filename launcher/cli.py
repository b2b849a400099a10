"""Parses cmpirun's options into a `LaunchConfig`."""

from __future__ import annotations

import argparse
import functools
import os
import sys

from cmpi._base.units import parse_cpus, parse_memory
from cmpi._core import limits
from cmpi._core.fabric import choice
from cmpi._core.job.kill_timers import GRACE_S
from cmpi._core.scheduling import placement
from cmpi._runtime import environment
from cmpi._runtime.linux.job_folders import machine_and_name
from cmpi.errors import UsageError
from cmpi.launcher import job_elsewhere
from cmpi.launcher.config import SHARED_MEMORY_BYTES, LaunchConfig
from cmpi.launcher.option_types import checked, count, job_name, keeper, seconds, split
from cmpi.launcher.slurm import options as slurm_options
from cmpi.launcher.wrong_guesses import answer, unknown_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_EPILOG = """\
Options of cmpirun go before PROGRAM; everything after PROGRAM is passed to it.

first steps:
  cmpirun --doctor                      check what works here, and how to fix what does not
  cmpirun -n 4 python job.py            4 ranks; MPI.COMM_WORLD in job.py has size 4
  cmpirun python fibonacci.py 10        one process, which spawns others with cmpi.spawn()
  cmpirun -n 4 --dry-run python job.py  show what would run where, without running it

output:
  cmpirun -n 4 --output plain hostname  lines without the name of the process
  cmpirun -n 2 --output json --output-dir logs python job.py

other tools:
  cmpirun -n 2 python train.py          torch.distributed works as under torchrun
  cmpirun pytest                        tests that use cmpi
  cmpirun uvicorn app:app               a server that spawns processes

a job that stays:
  cmpirun --serve --name lab            keeps a job up until Ctrl-C, or: cmpirun --stop lab
  cmpirun --in lab -n 4 python job.py   runs a program in it, at once, as if in a job of its own
  cmpirun --in node7:lab python job.py  the same on another machine, through ssh
  cmpirun --in lab --detach python job.py   without this terminal; prints its name: lab/3f2a001
  cmpirun --attach lab/3f2a001          shows its output, from the beginning, until it ends
  cmpirun --jobs                        shows your jobs here, and what runs in them
  cmpirun --jobs node7                  the same on another machine

more than one machine:
  cmpirun --hostfile lab.hosts -n 8 python job.py     on several hosts, through ssh
  cmpirun --slurm -n 64 --time 10:00 python job.py    as a batch job; shows its output until it ends

exit code: 0 if every process succeeded, or the program dealt with the failures; else the exit code of
the first failure (128 + its number for a signal). Also: 127 program not found, 126 not executable,
130 Ctrl-C, 86 deadlock, 2 wrong options.

Ctrl-\\ shows what all processes are doing; the job goes on.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if "args: expected one argument" in message:
            message += (
                "; write = before a value that begins with a dash: --slurm-args='--nice=7 --qos=long'"
            )
        self.exit(2, f"cmpirun: {message}\nTry: cmpirun --help\n")


def parse(arguments: list[str]) -> LaunchConfig:
    """Return the config for these arguments; if they are wrong, print a message and exit with code 2."""
    asks = "-h" in arguments or "--help" in arguments
    # Without a width argparse imports `shutil`, and that all compressors, to measure the terminal.
    form = functools.partial(argparse.RawDescriptionHelpFormatter, width=None if asks else 80)
    parser = _Parser(
        prog="cmpirun",
        usage="cmpirun [-n N] [options] PROGRAM [ARGS...]",
        description="Run a program as N ranks of one MPI world; they can spawn further processes.",
        epilog=_EPILOG,
        formatter_class=form,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-n", "-np", metavar="N", type=checked(count), default=1, help="number of ranks (default 1)")
    add(
        "--output",
        choices=("human", "headings", "plain", "json"),
        default="human",
        help="human (default): each line begins with the name of the process that wrote it; headings: the "
        "name is on a line above; plain: without names; json: one JSON object per line",
    )
    add("--output-dir", metavar="DIR", default="",
        help="also write each process's output to files there: rank-0.stdout, NAME-PID.stderr "
        "...")  # fmt: skip
    add("-q", "--quiet", action="store_true", help="do not show spawned processes")
    add("--color", "--colour", dest="colour", choices=("auto", "always", "never"), default="auto",
        help="use colours; auto (default): on a terminal, unless NO_COLOR is set")  # fmt: skip
    add("--cpus", metavar="CPUS", type=checked(parse_cpus), default=0,
        help="cores for the job on each host (default: all that it may use there); with --in: how many of "
        "the job's cores the program and all that it spawns may reserve")  # fmt: skip
    add("--rank-cpus", metavar="CPUS", type=checked(parse_cpus), default=0,
        help="how many of these cores each rank reserves (default 0: all are for spawned "
        "processes)")  # fmt: skip
    add("--memory", metavar="BYTES", type=checked(parse_memory), default=0,
        help='memory for the job on each host, such as "8 GiB" (default: all that it may use); with --in: '
        "how much of the job's memory the program and all that it spawns may reserve")  # fmt: skip
    add("--shared-memory", metavar="BYTES", type=checked(parse_memory), default=SHARED_MEMORY_BYTES,
        help="shared memory that one process may use to send to another on its host (default 128 MiB); "
        "messages that do not fit are sent more slowly; 0: send through MPI within a world, and "
        "through sockets otherwise")  # fmt: skip
    add("--enforce", choices=limits.MODES, default="",
        help="what to do with a process that uses more memory than it asked for (default: kill); "
        "processes that did not ask for an amount have no limit")  # fmt: skip
    add("--no-deadlock-check", dest="check_deadlock", action="store_false",
        help="do not end a job whose processes all wait for each other (exit code 86)")  # fmt: skip
    add("--report-mpi-waits", metavar="SECONDS", type=checked(seconds), default=60.0,
        help="when all ranks have waited inside MPI for this long without any output, report where they "
        "wait (default 60; 0: never); the job goes on")  # fmt: skip
    add("--grace", metavar="SECONDS", type=checked(seconds), default=GRACE_S,
        help="time for processes to end after Ctrl-C, SIGTERM or SIGHUP, before SIGKILL (default 10). "
        "Ctrl-C sends SIGINT (KeyboardInterrupt in Python), and SIGTERM after half of that "
        "time")  # fmt: skip
    add("--strict", action="store_true",
        help="fail if any process failed, even if the program dealt with that")  # fmt: skip
    add("--mpiexec", metavar="PATH", default="",
        help=f"the MPI launcher (default: ${environment.MPIEXEC}, or the one beside this Python, or "
        f"on PATH)")  # fmt: skip
    add("--mpi-args", metavar="'ARGS'", type=checked(split), action="extend", default=[],
        help="further arguments for mpiexec, in one string")  # fmt: skip
    add("--dry-run", action="store_true",
        help="show which ranks would run where (with --slurm: the batch script), and exit")  # fmt: skip
    add("--verbose", action="store_true",
        help="show each process that is spawned or ends, the memory used, mpiexec's command line, and "
        "the messages of MPI's launcher")  # fmt: skip
    add("--serve", action="store_true",
        help="start a job without a program, which processes join with cmpi.Job.attach and programs with "
        "--in; Ctrl-C ends it; with --slurm: as a batch job")  # fmt: skip
    add("--name", metavar="NAME", type=checked(job_name), default="",
        help="the job's name, for cmpi.Job.attach and --stop")  # fmt: skip
    add("--in", dest="into", metavar="NAME", default="",
        help="run the program in this job of yours on this host, or, as HOST:NAME, on another one, through "
        "ssh; the job goes on afterwards")  # fmt: skip
    add("--via", default="", help=argparse.SUPPRESS)
    add("--jobs", metavar="HOST", nargs="?", const="",
        help="list your jobs on this host, or on another one, through ssh, and the programs deployed into "
        "them, and exit")  # fmt: skip
    add("--stop", metavar="NAME", default="",
        help="end your job of this name on this host, or the deployment JOB/NUMBER, as SIGTERM does; "
        "HOST:NAME for one on another host")  # fmt: skip
    add("--relay", default="", help=argparse.SUPPRESS)
    add("--keeper", type=checked(keeper), default=(0, -1), help=argparse.SUPPRESS)
    add("--doctor", action="store_true",
        help="check what works here, and how to fix what does not; with --hostfile, --host or --slurm also "
        "there (with --submit, by a tiny batch job); exits with 1 for warnings, 2 for faults")  # fmt: skip
    add("--submit", action="store_true", help=argparse.SUPPRESS)
    add("--json", action="store_true", help="with --doctor or --dry-run: print JSON")
    add("--version", action="store_true", help="show the versions of cmpi, Python and MPI, and exit")
    _add_hosts(parser)
    slurm_options.add_to(parser)
    add(
        "program",
        nargs=argparse.REMAINDER,
        metavar="PROGRAM [ARGS...]",
        help="the command that each rank runs",
    )
    actions = parser._option_string_actions
    wrong = unknown_option(arguments, {name: action.nargs is None for name, action in actions.items()})
    if wrong:
        parser.error(answer(wrong, sorted(actions)))
    options = parser.parse_args(arguments)
    argv = options.program[1:] if options.program[:1] == ["--"] else options.program
    about_job = next(((d, j) for d in _ABOUT if (j := getattr(options, d)) is not None), None)
    no_program = options.version or options.doctor or options.add_host or options.add_slurm or options.serve
    no_program = no_program or options.relay
    no_program = no_program or options.jobs is not None or options.stop
    needs_folder = not (options.version or options.jobs is not None or options.stop)
    if needs_folder and _folder_is_gone():
        parser.error("the working folder has been removed; cd to a folder that exists")
    if not argv and not no_program and about_job is None:
        parser.error(f"no program given; usage: {parser.usage}")
    own = slurm_options.NO_OWN
    given = arguments[: len(arguments) - len(options.program)]
    if options.slurm and argv:
        try:
            own = slurm_options.read_own(argv, given)
        except UsageError as error:
            parser.error(str(error))
        given = [*own.arguments, *given]
        options = parser.parse_args([*given, *options.program])
    if argv and _is_bare_script(argv[0]):
        import shlex

        parser.error(f"{argv[0]} is a Python script; did you mean: cmpirun python {shlex.join(argv)}")
    if options.serve and argv:
        parser.error("--serve starts a job without a program; remove the program")
    named = (options.into, options.stop, options.attach or "", options.relay)
    elsewhere = next((host for host in map(_host, named) if host), (options.jobs or "").rstrip(":"))
    gives_hostfile = options.hostfile != os.environ.get(environment.HOSTFILE, "")
    if options.into:
        unfit = ["--hostfile"] if gives_hostfile else []
        unfit += [f"--{name.replace('_', '-')}" for name in _NOT_IN if getattr(options, name)]
        if unfit:
            parser.error(f"{unfit[0]} is given when a job starts; the job that --in names runs already")
    if about_job is not None and (argv or options.slurm):
        parser.error(f"--{about_job[0]} is for a job submitted earlier; remove the program and --slurm")
    if options.jobs is not None and argv:
        parser.error("--jobs lists jobs; remove the program")
    if options.host and gives_hostfile:
        parser.error("--host and --hostfile both name the hosts; give only one of them")
    if options.slurm and (argv or options.serve) and (options.host or gives_hostfile):
        parser.error("Slurm chooses the hosts of a batch job; remove --slurm, or --host and --hostfile")
    if options.detach and not (options.slurm or options.into):
        parser.error("--detach is for batch jobs and deployments; add --slurm, or --in NAME")
    if options.nodes < 0:
        parser.error(f"-N {options.nodes}: expected a number of nodes, 1 or more")
    alone = [f"--{n.replace('_', '-')}" for n in slurm_options.ONLY if getattr(options, n)]
    if alone and not (options.slurm or options.add_slurm):
        parser.error(f"{alone[0]} is for batch jobs; add --slurm")
    return LaunchConfig(
        argv=argv,
        n=0 if options.serve and not options.slurm else options.n,
        hostfile=options.hostfile,
        host=options.host,
        map_by=options.map_by,
        ship=options.ship,
        ssh=options.ssh,
        ssh_timeout_s=options.ssh_timeout,
        host_timeout_s=options.host_timeout,
        interface=options.interface,
        fabric=options.fabric or choice.TCP,
        output=options.output,
        output_dir=os.path.abspath(options.output_dir) if options.output_dir else "",
        colour=options.colour,
        cpu_units=options.cpus,
        memory_bytes=options.memory,
        rank_cpu_units=options.rank_cpus,
        shared_memory_bytes=options.shared_memory,
        enforce=options.enforce,
        check_deadlock=options.check_deadlock,
        report_mpi_waits_s=options.report_mpi_waits,
        grace_s=options.grace,
        strict=options.strict,
        mpiexec=options.mpiexec or os.environ.get(environment.MPIEXEC, ""),
        mpi_args=options.mpi_args,
        quiet=options.quiet,
        verbose=options.verbose,
        version=options.version,
        batch=slurm_options.batch(options, own) if options.slurm or options.add_slurm else None,
        inner=_inner(options, given, elsewhere),
        dry_run=options.dry_run,
        doctor=options.doctor,
        add_host=options.add_host,
        add_slurm=options.add_slurm,
        job=options.job,
        jobs=options.jobs is not None,
        stop=options.stop,
        into=machine_and_name(options.into)[1],
        elsewhere=elsewhere,
        via=options.via,
        relay=machine_and_name(options.relay)[1],
        serve=options.serve,
        name=options.name,
        keeper=options.keeper,
        submit=options.submit,
        json=options.json,
        detach=options.detach,
        on_interrupt=options.on_interrupt,
        about_job=about_job,
    )


def _host(name: str) -> str:
    """The other machine that is named; "": none."""
    return machine_and_name(name)[0]


def _inner(options: argparse.Namespace, given: list[str], elsewhere: str) -> list[str]:
    """The options of the cmpirun in the batch job, or on the other machine."""
    if elsewhere and not options.relay:
        return job_elsewhere.options_there(given)
    return slurm_options.inner(given) if options.slurm else []


def _folder_is_gone() -> bool:
    """Whether the working folder has been removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _is_bare_script(program: str) -> bool:
    """Whether this is a Python script that the system cannot execute directly."""
    if not program.endswith((".py", ".pyw")) or not os.path.isfile(program):
        return False
    return "/" not in program or not os.access(program, os.X_OK)


_NOT_IN = ("slurm", "serve", "name", "host", "enforce", "mpi_args", "dry_run", "fabric")
_ABOUT = ("attach", "status", "logs", "cancel", "clean")


def _add_hosts(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("several hosts, through ssh").add_argument
    add("--hostfile", metavar="FILE", default=os.environ.get(environment.HOSTFILE, ""),
        help="run on the hosts in this file, one per line, such as: node1 slots=4 (see "
        "hostfiles/)")  # fmt: skip
    add("-H", "--host", metavar="HOSTS", default="",
        help="run on these hosts, with the number of ranks on each: node1:4,node2:4")  # fmt: skip
    add("--add-host", metavar="HOSTS", default="",
        help="add hosts to a job that was started here with --host or --hostfile, and exit")  # fmt: skip
    add("--job", metavar="NAME", default="", help="with --add-host or --add-slurm: which job, if "
        "there are several; --add-slurm also takes the number of a job on Slurm")  # fmt: skip
    add("--map-by", choices=placement.BY, default="slot",
        help="slot (default): fill one host after another; node: deal the ranks out to all hosts in "
        "turn")  # fmt: skip
    add("--ship", metavar="DIR", default="",
        help="copy this folder to the other hosts for the duration of the job, or with --in of the "
        "deployment (default: the program's folder, to hosts that do not have it)")  # fmt: skip
    add("--ssh", metavar="'ARGS'", type=checked(split), default=["ssh"],
        help="the ssh command, with options: 'ssh -p 2222 -i key'")  # fmt: skip
    add("--ssh-timeout", metavar="SECONDS", type=checked(seconds), default=0.0,
        help="time to connect and log in to the hosts (default: 9 to connect to each, 30 in "
        "all)")  # fmt: skip
    add("--interface", metavar="IF", default="",
        help="use only this network between hosts: an interface that all of them have, such as eth1, or a "
        "network, such as 10.0.0.0/16 (default: any by which a host is reached)")  # fmt: skip
    add("--fabric", choices=choice.MODES, default="",
        help="the way of channels between hosts. tcp (default): by TCP; mpi: through MPI, only inside a "
        "trusted network; auto: through MPI if a fast network is seen (InfiniBand, RoCE, Omni-Path, EFA, "
        "Slingshot). If MPI fails, they go on by TCP")  # fmt: skip
    add("--host-timeout", metavar="SECONDS", type=checked(seconds), default=0.0,
        help="consider a host lost after so long without a word from it (default 8)")  # fmt: skip


def wants_colour(choice: str, terminal: bool) -> bool:
    """Whether to use colours, given the option, the output and the environment (https://no-color.org)."""
    if choice != "auto":
        return choice == "always"
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def fail(message: str, code: int = 2) -> NoReturn:
    """Print a message and exit."""
    print(f"cmpirun: {message}", file=sys.stderr)
    raise SystemExit(code)
