"""cmpirun's commands for Slurm batch jobs (submit, attach, status, logs), built on Slurm's own commands."""

from __future__ import annotations

import getpass
import os
import shutil
import sys
import time

from cmpi._core.slurm import states
from cmpi._core.slurm.states import State
from cmpi._runtime import programs
from cmpi._runtime.slurm_question import ask
from cmpi.errors import LaunchError
from cmpi.launcher.option_types import FIRST_GUEST
from cmpi.launcher.slurm import calls, follow, for_guest, job_files, own_lines, requeue, script, tidy_up
from cmpi.launcher.slurm.job_files import JobFiles
from cmpi.launcher.slurm.script import FOLDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi.launcher.config import LaunchConfig


def _script(config: LaunchConfig) -> str:
    words = config.argv or [config.name or "cmpi"]  # with --serve there is no program
    name = os.path.basename(next((w for w in words if w.endswith(".py")), words[0]))
    assert config.batch is not None
    return script.script(config.batch, config.n, name, os.getcwd(), _command(config))


def _submit(config: LaunchConfig) -> tuple[str, str]:
    """Write the script and submit it; returns Slurm's number of the job, and the script."""
    assert config.batch is not None
    os.makedirs(FOLDER, exist_ok=True)
    path = f"{FOLDER}/{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.sh"
    with open(path, "x") as file:
        file.write(_script(config))
    answer = ask("sbatch", "--parsable", path, limit_s=calls.SUBMIT_S)
    if answer.code is None:
        raise LaunchError(
            f"sbatch did not answer within {calls.SUBMIT_S:.0f} s, so {path} may or may not have been "
            "submitted. Look at the queue (squeue --me) before you submit it again."
        )
    if answer.code:
        where = own_lines.blame(config.batch.all_own, answer.complaint)
        raise LaunchError(f"sbatch refused {path}{where}: {answer.complaint}")
    job = answer.out.strip().partition(";")[0]
    job_files.note(job, os.getcwd())
    tidy_up.delete_very_old()
    return job, path


def submit(config: LaunchConfig) -> int:
    """Submit a job; follow it unless detached. Returns cmpirun's exit code."""
    assert config.batch is not None
    if config.dry_run:
        print(_script(config), end="")
        return 0
    watch = for_guest.GuestWatch(*config.keeper) if config.keeper[0] else None
    job, path = _submit(config)
    if config.detach:
        print(job)
        return 0
    calls.say(f"job {job} submitted ({path})")
    if config.batch.array:
        return follow.follow_array(job, config.on_interrupt)
    if watch is not None:
        return for_guest.follow_to_end(job, watch)
    return follow.follow(job, config.on_interrupt)


def _command(config: LaunchConfig) -> list[str]:
    """The command that the job runs: this same cmpirun, without the Slurm options."""
    script = os.path.abspath(sys.argv[0])
    module = [sys.executable, *programs.isolated(programs.CMPIRUN)]
    ours = [script] if os.path.basename(script) == "cmpirun" else module
    colour = ["--color", "always"] if os.isatty(1) and config.colour != "never" else []
    before_s = config.batch.requeue_before_s if config.batch else 0.0
    grace = ["--grace", f"{requeue.grace_s(before_s):g}"] if before_s else []
    guest = ["--keeper", FIRST_GUEST] if config.keeper[0] else []
    return [*ours, *grace, *guest, *config.inner, *colour, *config.argv]


def attach(job: str, on_interrupt: str) -> int:
    """Show a job's output from the start, or the ends of an array's tasks. Returns cmpirun's exit code."""
    if follow.is_array(job):
        return follow.follow_array(job, "leave" if on_interrupt == "ask" else on_interrupt)
    return follow.follow(job, on_interrupt)


def status(job: str) -> int:
    """Print the state of a job or array; without `job`, of all that were submitted from this folder, or
    if there are none, of all that this user has submitted. Returns cmpirun's exit code."""
    noted = job_files.all_noted()
    if job:
        folders = {job: job_files.find(job).folder}
    else:
        mine = {each: folder for each, folder in noted.items() if folder == os.getcwd()}
        mine |= dict.fromkeys(job_files.here(), os.getcwd())
        folders = mine or noted
    for each, folder in list(folders.items()):
        folders |= dict.fromkeys(job_files.tasks(folder, each), folder)
    rows = _rows(job, folders)
    elsewhere = not job and any(folder != os.getcwd() for _, _, folder in rows)
    for each, state, folder in rows:
        words = [each, state.name, state.nodes, state.reason]
        if state.ended:
            record = JobFiles(folder, each).end()
            words.append(f"exit code {states.exit_code(state, record.code if record else None)}")
        print("  ".join(word for word in (*words, folder if elsewhere else "") if word))
    if not rows:
        print(f"there are no batch jobs in ./{FOLDER}, and Slurm knows none of yours")
    return 0


def _rows(job: str, folders: dict[str, str]) -> list[tuple[str, State, str]]:
    """Each known job or task with its state and its folder, ordered by number."""
    fields = ("--noheader", "--array", "--states=all", f"--format={states.TASKS}")
    of = ("--jobs", job) if job else ("--user", getpass.getuser())
    answer = ask("squeue", *fields, *of)
    silent = answer.code is None or not calls.understood(answer)
    if silent:
        calls.say(f"Slurm does not answer ({answer.complaint}); these states come from the jobs' own files")
    queue = states.parse_tasks(answer.out)
    rows = []
    for each in sorted(folders | dict.fromkeys(queue, ""), key=_by_number):
        folder = folders.get(each) or folders.get(each.partition("_")[0], "")
        state = queue.get(each)
        record = JobFiles(folder, each).end() if folder else None
        if state is None and record is not None:  # Slurm forgets a job some time after its end
            state = State("COMPLETED" if record.code == 0 else "FAILED", code=record.code)
        elif state is not None and state.ended and record is None:
            state = calls.show(each) or state  # with the exit code
        if state is not None and folder:
            rows.append((each, state, folder))
    if job and not rows:
        if silent:
            raise LaunchError(f"the state of job {job} is not known until Slurm answers. Try again later.")
        where = f"and it has left no files in {folders[job]}/{FOLDER}"
        raise LaunchError(f"Slurm knows no job {job}, {where}: {answer.complaint}")
    return rows


def _by_number(job: str) -> list[int]:
    """The sort key for jobs, tasks and the pending part of an array (7_[3-9%2])."""
    first, _, task = job.partition("_")
    digits = task.strip("[").partition("-")[0].partition(",")[0].partition("%")[0].rstrip("]")
    return [int(first), int(digits) if digits.isdigit() else 0]


def logs(job: str) -> int:
    """Print a job's output so far. Returns cmpirun's exit code."""
    files = job_files.find(job)
    if not files.exist():
        state = calls.show(job)
        files = job_files.find(job, state.folder if state else "")
    found = False
    for fd, path in files.output.items():
        try:
            with open(path, "rb") as file, open(fd, "wb", closefd=False) as to:
                shutil.copyfileobj(file, to)
            found = True
        except FileNotFoundError:
            continue
    if not found:
        raise LaunchError(
            f"there is no output of job {job} in {files.folder}/{FOLDER}: it has not begun, or was not "
            "submitted by cmpirun"
        )
    return 0
