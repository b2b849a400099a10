"""Runs a job: creates its folder, starts its mpiexec, supervises it, and cleans up."""

from __future__ import annotations

import os
import signal
import sys

from cmpi._core.job.start_numbers import RANKS
from cmpi._runtime import environment as names
from cmpi._runtime.linux import job_folders, open_files, shared_memory_room, trusted_folder
from cmpi._runtime.own_output import open_own_output
from cmpi._runtime.programs import ROOT_MAIN, path_of, spawn_stub
from cmpi._runtime.root import spawning_mpi
from cmpi._transport import job_secret
from cmpi._transport.door import Door, listen
from cmpi.errors import CmpiError, UsageError
from cmpi.launcher import cli, job_order
from cmpi.launcher.config import LaunchConfig
from cmpi.launcher.hosts import choice
from cmpi.launcher.mpi import find_mpi
from cmpi.launcher.mpi.start_mpiexec import start
from cmpi.launcher.plan import Here, PlannedHost, plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi.launcher.hosts.hostfile import HostSpec
    from cmpi.launcher.hosts.multi_host import MultiHost

# The supervising modules are imported while mpiexec starts (see _run_in).


def run(config: LaunchConfig) -> int:
    """Run the job; returns cmpirun's exit code."""
    if config.version:
        return _show_version(config)
    if config.doctor:
        return _run_doctor(config)
    if config.add_host:
        return _add_host(config)
    if config.add_slurm:
        return _add_nodes(config)
    if config.jobs or config.stop:
        return _about_running(config)
    if config.batch is not None or config.about_job is not None:
        return _run_batch(config)
    if config.dry_run:
        return _show_plan(config)
    if names.CONTROL in os.environ:
        cli.fail("this is already a process of a cmpi job; start further processes with cmpi.spawn()")
    try:
        mpi = find_mpi.find(config.mpiexec)
        job_order.check_folder(config.output_dir)
        if config.name and job_folders.find(config.name):
            raise UsageError(f"a job of yours named {config.name} already runs here; choose another --name")
        name = f"{job_folders.PREFIX}{os.urandom(6).hex()}"
        folder = f"{temporary_folder()}/{name}"
        shared_memory = shared_memory_room.folder(name, temporary_folder())
        for number in _obeyed():
            signal.signal(number, lambda number, _: sys.exit(128 + number))  # until there is a job
        try:
            for path in {folder, shared_memory}:
                _make_folder(path)
            return _run_in(folder, shared_memory, mpi, config)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            _clean_up((folder, shared_memory))
    except CmpiError as error:
        cli.fail(str(error))


def _obeyed() -> list[signal.Signals]:
    """The signals that end the job, except those that nohup, or a shell's `&`, had set to be ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def _run_batch(config: LaunchConfig) -> int:
    from cmpi.launcher import visits
    from cmpi.launcher.slurm import calls, commands, tidy_up

    try:
        if config.about_job is None:
            return commands.submit(config)
        what, job = config.about_job
        if what == "attach" and visits.names_deployment(job):
            return visits.attach(job, config.via, config.on_interrupt)
        if what != "clean" and (job or what != "status"):
            calls.check_number(what, job)
        if what == "attach":
            return commands.attach(job, config.on_interrupt)
        about = {
            "status": commands.status,
            "logs": commands.logs,
            "cancel": calls.cancel,
            "clean": tidy_up.clean,
        }
        return about[what](job)
    except CmpiError as error:
        cli.fail(str(error), 1)


def _run_in(folder: str, shared_memory: str, mpi: find_mpi.Mpi, config: LaunchConfig) -> int:
    secret = job_secret.create(folder)
    hosts = choice.hosts(config)
    others = choice.several(config, hosts, mpi) if hosts else None
    job = plan(config, mpi, _planned(others, hosts), _here(folder, shared_memory, mpi, others))
    environment, described, here = job.environment, b"", ""
    if others is not None:
        here = others.local
        others.begin(folder, shared_memory, environment, os.getcwd(), config.argv, config.ship, secret.key)
        described = others.described(hosts)
    own = open_own_output(folder)
    spawning_mpi.make_pipe(folder)
    # Monitors may come before the root, which gets this socket.
    sockets = [listen(f"{folder}/{name}") for name in ("launcher", "root")]
    out, err = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    commands = [argv for argv in (job.mpiexec, job.world) if argv]
    pids = [start(argv, environment, out[1], err[1]) for argv in commands]
    for _, write in (out, err):
        os.close(write)

    # mpiexec takes 30 ms until its root connects to us: time to import the rest.
    import shlex

    from cmpi._runtime.linux import descendants
    from cmpi.launcher.mpi.launcher_output import MpiexecOutput
    from cmpi.launcher.mpi.mpiexec_watch import MpiexecWatch

    descendants.adopt_orphans()
    job_folders.describe(folder, config.name, shlex.join(config.argv))
    if config.verbose:
        for argv in commands:
            print(f"cmpirun: {shlex.join(argv)}", file=sys.stderr)
    fabric = [] if others is None else others.fabric.hosts
    order = job_order.make(
        config, job.where, job.rank_settings, here, described, fabric, begun=bool(job.world)
    )
    door = Door(sockets[0], secret.key)
    fds = [job_order.stdin(), 1, 2]

    def ready() -> None:
        _say_ready(folder, config)

    output = MpiexecOutput(out[0], err[0], own, verbose=config.verbose)
    try:
        watch = MpiexecWatch(pids, door, order, fds, sockets[1], output, others, kind=mpi.kind, ready=ready)
        return watch.run()
    finally:
        if others is not None:
            others.finish()


def _say_ready(folder: str, config: LaunchConfig) -> None:
    """Report that the job is up and accepts guests."""
    ready = config.keeper[1]
    if ready >= 0:
        os.write(ready, f"{folder}\n".encode())
        os.close(ready)
    elif config.serve:
        name, end = job_folders.name(folder), "Ctrl-C ends it"
        if "SLURM_JOB_ID" in os.environ:
            name = f"{os.uname().nodename}:{name}"
            end = "it ends with the Slurm job"
        if config.keeper[0]:
            from cmpi.launcher.slurm import for_guest

            print(for_guest.up(name), flush=True)
            return
        print(f'cmpirun: the job {name} is up; cmpi.Job.attach("{name}") joins it; {end}', flush=True)


def _add_host(config: LaunchConfig) -> int:
    from cmpi.launcher.hosts import add_host

    try:
        return add_host.run(config.add_host, config.job)
    except CmpiError as error:
        cli.fail(str(error))


def _add_nodes(config: LaunchConfig) -> int:
    from cmpi.launcher.slurm import add_nodes

    try:
        return add_nodes.run(config)
    except CmpiError as error:
        cli.fail(str(error), 1)


def _about_running(config: LaunchConfig) -> int:
    from cmpi.launcher import running_jobs

    try:
        return running_jobs.stop(config.stop) if config.stop else running_jobs.show()
    except CmpiError as error:
        cli.fail(str(error), 1)


def _run_doctor(config: LaunchConfig) -> int:
    from cmpi.launcher.doctor import doctor

    try:
        hosts = choice.hosts(config)
        return doctor.run(config, hosts, choice.way(config) if hosts else None)
    except CmpiError as error:
        cli.fail(str(error))


def _show_plan(config: LaunchConfig) -> int:
    from cmpi._base.units import CPU_UNIT
    from cmpi._core.scheduling.capacity import usable
    from cmpi._runtime.linux import host_facts
    from cmpi.launcher.dry_run import as_json, as_text

    try:
        mpi = find_mpi.find(config.mpiexec)
        kind, number = find_mpi.check_version(mpi.mpiexec)
        specs = choice.hosts(config)
        others = choice.several(config, specs, mpi) if specs else None
        if others is not None:
            others.finish()
        hosts = _planned(others, specs)
        if not hosts:
            cpu_units, memory_bytes = usable(host_facts.facts(), os.environ)
            room = config.cpu_units or cpu_units, config.memory_bytes or memory_bytes
            hosts = [PlannedHost(os.uname().nodename, max(1, room[0] // CPU_UNIT), *room)]
        job = plan(config, mpi, hosts, _here("FOLDER", "FOLDER", mpi, others))
    except CmpiError as error:
        cli.fail(str(error))
    show = as_json if config.json or config.output == "json" else as_text
    sys.stdout.write(show(job, f"{find_mpi.NAMES[kind]} {number}"))
    return 0


def _planned(others: MultiHost | None, specs: list[HostSpec]) -> list[PlannedHost]:
    """The hosts of a job on several hosts, with the resources that it may use there."""
    if others is None:
        return []
    return [PlannedHost(it.name, others.slots(it), *others.room(it), it.max_slots) for it in specs]


def _here(folder: str, shared_memory: str, mpi: find_mpi.Mpi, others: MultiHost | None) -> Here:
    from cmpi._runtime.linux import host_facts

    path, superuser = [path or os.getcwd() for path in sys.path], os.geteuid() == 0
    return Here(
        os.environ,
        sys.executable,
        path_of(ROOT_MAIN),
        spawn_stub(str(RANKS)),
        find_mpi.certain(mpi, sys.executable, path, os.environ),
        path,
        superuser,
        host_facts.has_rdma() or (others is not None and others.has_rdma()),
        open_files.raise_limit(),
        folder,
        shared_memory,
    )


def _clean_up(folders: tuple[str, ...]) -> None:
    from cmpi._runtime.linux import descendants, leftovers

    left = descendants.end_all()
    if left:
        print(f"cmpirun: {left}", file=sys.stderr)
    leftovers.clean_up(folders)


def temporary_folder() -> str:
    """Where to create the job's folder. Raises: UsageError: Other users could replace that folder."""
    folder = os.environ.get("TMPDIR", "/tmp")
    try:
        why = trusted_folder.fault(folder)
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
    if why:
        raise UsageError(
            f"cannot safely create the job's folder in {folder}: {why}. Set TMPDIR to another folder."
        )
    return folder


def _make_folder(path: str) -> None:
    """Create a folder for this user alone. (Importing `tempfile` would take 4 ms.)"""
    try:
        os.mkdir(path, 0o700)
    except OSError as error:
        cli.fail(f"cannot create the folder {path}: {error.strerror}. Set TMPDIR to another folder.", 1)


def _show_version(config: LaunchConfig) -> int:
    from importlib.metadata import version

    from cmpi._runtime.linux.host_facts import compiled

    code = 0
    lines = [
        f"cmpi {version('cmpi')} ({'compiled' if compiled() else 'not compiled'})",
        f"Python {sys.version.split()[0]} ({sys.executable})",
        f"mpi4py {version('mpi4py')}",
    ]
    try:
        mpi = find_mpi.find(config.mpiexec)
        kind, number = find_mpi.check_version(mpi.mpiexec)
        lines.append(f"{find_mpi.NAMES[kind]} {number} ({mpi.mpiexec})")
    except CmpiError as error:
        lines.append(f"MPI: {error}")
        code = 1
    print("\n".join(lines))  # in one write: a reader of only the first line may then close the pipe
    return code
