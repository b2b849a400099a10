"""Batch jobs on Slurm: submit, follow, attach, status, logs, cancel. Slurm's own commands do the work."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

from cmpi._runtime import programs
from cmpi.errors import LaunchError
from cmpi.launcher.config import LaunchConfig
from cmpi.launcher.slurm import script
from cmpi.launcher.slurm.script import FOLDER, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from cmpi.launcher.hosts.hostfile import HostSpec

POLL_S = 1.0  # between two questions to Slurm; output is looked for more often
OUTPUT_POLL_S = 0.1
UNKNOWN_S = 30.0  # for which a job may be unknown to Slurm, whose controller may be restarting


def _ask(*command: str) -> tuple[int, str, str]:
    """A command of Slurm's: its exit code, what it printed, what it complained of.

    Raises:
        LaunchError: There is no such command: no Slurm here.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LaunchError(
            f"no {command[0]} on PATH: this is not a machine of a Slurm cluster. Run on this one "
            "without --slurm, or log in to the cluster first."
        ) from None
    return done.returncode, done.stdout, done.stderr.strip()


def allocated() -> list[HostSpec]:
    """The nodes of the Slurm job that this is part of, with the ranks that it was given for each.

    Raises:
        LaunchError: Slurm does not say.
    """
    code, out, fault = _ask("scontrol", "show", "hostnames", os.environ.get("SLURM_JOB_NODELIST", ""))
    if code or not out.split():
        raise LaunchError(f"cannot tell the nodes of this job: scontrol says: {fault or 'nothing'}")
    return script.allocation(out.split(), os.environ)


def deadline_s() -> float:
    """When the Slurm job that this is part of will be ended, in seconds since 1970; 0 if never, or if
    Slurm does not say."""
    try:
        _, out, _ = _ask("scontrol", "show", "job", "--oneliner", os.environ["SLURM_JOB_ID"])
    except LaunchError:
        return 0.0
    return script.parse_end(out)


def submit(config: LaunchConfig) -> int:
    """Write the script and submit it; follow it unless detached. Returns cmpirun's exit code."""
    name = os.path.basename(next((w for w in config.argv if w.endswith(".py")), config.argv[0]))
    assert config.batch is not None
    text = script.script(config.batch, config.n, name, os.getcwd(), _command(config))
    if config.dry_run:
        print(text, end="")
        return 0
    os.makedirs(FOLDER, exist_ok=True)
    path = f"{FOLDER}/{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.sh"
    with open(path, "x") as file:
        file.write(text)
    code, out, complaint = _ask("sbatch", "--parsable", path)
    if code:
        raise LaunchError(f"sbatch did not take {path}: {complaint}")
    job = out.strip().partition(";")[0]
    if config.detach:
        print(job)
        return 0
    _say(f"job {job} submitted ({path})")
    if config.batch.array:
        return follow_array(job, config.on_interrupt)
    return follow(job, config.on_interrupt)


def _command(config: LaunchConfig) -> list[str]:
    """What the job runs: this very cmpirun, without Slurm."""
    script = os.path.abspath(sys.argv[0])
    module = [sys.executable, *programs.isolated(programs.CMPIRUN)]
    ours = [script] if os.path.basename(script) == "cmpirun" else module
    colour = ["--color", "always"] if os.isatty(1) and config.colour != "never" else []
    return [*ours, *config.inner, *colour, *config.argv]


def follow(job: str, on_interrupt: str = "ask") -> int:
    """Show a job's output as it comes, from its start, until it ends. Returns cmpirun's exit code."""
    return _Follower(job, on_interrupt).run()


def follow_array(job: str, on_interrupt: str = "leave") -> int:
    """Tell of the tasks of a job array as they end, until all have; what each writes stays in its files.

    Returns: The exit code of the first task, by number, that failed; 0 if none did.
    """
    codes: dict[str, int] = {}
    known: dict[str, State] = {}
    try:
        while True:
            _, out, complaint = _ask(
                "squeue", "--noheader", "--array", "--states=all", "--format=%i %T", "--jobs", job
            )
            now = script.parse_tasks(out)
            if not now and not known:
                raise LaunchError(f"Slurm knows no job array {job}: {complaint}")
            known |= now
            for task in sorted(known.keys() - codes.keys(), key=_task_number):
                if task not in now or now[task].ended:
                    codes[task] = script.exit_code(known[task], _written(task))
                    what = f"exit code {codes[task]}" if codes[task] else "well"
                    _say(f"task {task} has ended: {what} ({FOLDER}/{task}.out)")
            if len(codes) == len(known):
                break
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        if on_interrupt == "cancel":
            cancel(job)
        else:
            _say(f"the tasks go on; see them with: cmpirun --status {job}")
        return 130
    return next((codes[task] for task in sorted(codes, key=_task_number) if codes[task]), 0)


def _task_number(task: str) -> int:
    return int(task.rpartition("_")[2])


class _Follower:
    """Follows one job."""

    def __init__(self, job: str, on_interrupt: str) -> None:
        self._job, self._on_interrupt = job, on_interrupt
        self._files = {1: f"{FOLDER}/{job}.out", 2: f"{FOLDER}/{job}.err"}
        self._read = {1: 0, 2: 0}
        self._said = ""
        self._interrupted = False

    def run(self) -> int:
        """To the job's end, or until the person wants no more."""
        signal.signal(signal.SIGINT, self._on_sigint)
        state, due_s = State("PENDING"), 0.0
        while not state.ended:
            if self._interrupted and self._ask_person():
                return 130
            if time.monotonic() >= due_s:
                state = job_state(self._job)
                self._tell(state)
                due_s = time.monotonic() + POLL_S
            if not self._show():
                time.sleep(OUTPUT_POLL_S)
        time.sleep(OUTPUT_POLL_S)  # a shared file system shows the last of it a little later
        while self._show():
            pass
        code = script.exit_code(state, _written(self._job))
        if state.name in script.VERDICTS:
            _say(f"job {self._job} was ended by Slurm ({state.name}): {script.VERDICTS[state.name][0]}")
        return code

    def _show(self) -> bool:
        """Print what is new; True if something was."""
        new = False
        for fd, path in self._files.items():
            try:
                with open(path, "rb") as file:
                    file.seek(self._read[fd])
                    data = file.read(1 << 20)
            except FileNotFoundError:
                continue  # it has not begun
            self._read[fd] += len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            new |= bool(data)
        return new

    def _tell(self, state: State) -> None:
        if state.waiting:
            _, queue, _ = _ask("squeue", "--noheader", "--states=PENDING", "--sort=-p,i", "--format=%i")
            n = script.ahead(queue, self._job)
            text = f"pending ({state.reason or 'not yet considered'}), {n} before it in the queue"
        elif state.ended:
            return
        else:
            text = f"runs on {state.nodes}" if state.name == "RUNNING" else state.name.lower()
        if text != self._said:
            self._said = text
            _say(f"job {self._job} {text}")

    def _on_sigint(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True

    def _ask_person(self) -> bool:
        """What to do with the job, which may be to cancel it; True to leave it, and stop following."""
        self._interrupted = False
        wish = self._on_interrupt
        if wish == "ask" and os.isatty(0):
            question = f"[c]ancel job {self._job}, [l]eave it running, or go on?"
            print(f"\ncmpirun: {question} ", end="", file=sys.stderr, flush=True)
            try:
                wish = {"c": "cancel", "l": "leave"}.get(input().strip()[:1].lower(), "")
            except (EOFError, KeyboardInterrupt):
                wish = "leave"
        if wish == "cancel":
            cancel(self._job)  # and see its end
        elif wish:
            _say(f"job {self._job} goes on; see it again with: cmpirun --attach {self._job}")
        return wish in ("ask", "leave")


def job_state(job: str) -> State:
    """What has become of a job.

    Raises:
        LaunchError: Slurm does not know it, and it has left no exit code here.

    Blocks: for Slurm's answer; up to `UNKNOWN_S` while it gives none.
    """
    end_s = time.monotonic() + UNKNOWN_S
    while True:
        code, out, complaint = _ask("scontrol", "show", "job", "--oneliner", job)
        state = script.parse_job(out) if code == 0 else None
        if state is not None:
            return state
        written = _written(job)
        if written is not None:  # it ended so long ago that Slurm has forgotten it
            return State("COMPLETED" if written == 0 else "FAILED", code=written)
        if "Invalid job id" in complaint or time.monotonic() > end_s:
            where = f"and it has left nothing in ./{FOLDER}"
            raise LaunchError(f"Slurm knows no job {job}, {where}: {complaint}")
        time.sleep(POLL_S)


def _written(job: str) -> int | None:
    try:
        with open(f"{FOLDER}/{job}.code") as file:
            return int(file.read())
    except (FileNotFoundError, ValueError):
        return None


def status(job: str) -> int:
    """Print what Slurm says of a job, or of all that were submitted from here."""
    jobs = [job] if job else sorted({n.partition(".")[0] for n in _ours()}, key=_by_number)
    if job.isdigit():  # of an array, all tasks
        mine = {n.partition(".")[0] for n in _ours()}
        jobs = sorted((n for n in mine if n.startswith(f"{job}_")), key=_by_number) or jobs
    for each in jobs:
        try:
            state = job_state(each)
        except LaunchError:
            if job:
                raise
            continue  # forgotten, and without an exit code: cancelled before it began
        words = [each, state.name, state.nodes, state.reason]
        if state.ended:
            words.append(f"exit code {script.exit_code(state, _written(each))}")
        print("  ".join(word for word in words if word))
    if not jobs:
        print(f"no batch jobs in ./{FOLDER}")
    return 0


def _by_number(job: str) -> list[int]:
    return [int(part) for part in job.split("_")]


def _ours() -> list[str]:
    try:
        names = os.listdir(FOLDER)
    except FileNotFoundError:
        return []
    ours = (n for n in names if n.endswith((".out", ".code")))
    return [n for n in ours if n.partition(".")[0].replace("_", "").isdigit()]


def logs(job: str) -> int:
    """Print what a job has written so far."""
    found = False
    for fd, end in ((1, "out"), (2, "err")):
        try:
            with open(f"{FOLDER}/{job}.{end}", "rb") as file, open(fd, "wb", closefd=False) as to:
                shutil.copyfileobj(file, to)
            found = True
        except FileNotFoundError:
            continue
    if not found:
        raise LaunchError(
            f"no output of a job {job} in ./{FOLDER}: it has not begun, or was submitted elsewhere"
        )
    return 0


def cancel(job: str) -> int:
    """Cancel a job."""
    code, _, complaint = _ask("scancel", job)
    if code or complaint:
        raise LaunchError(f"scancel {job}: {complaint}")
    _say(f"job {job} is being cancelled")
    return 0


def _say(text: str) -> None:
    print(f"cmpirun: {text}", file=sys.stderr, flush=True)
