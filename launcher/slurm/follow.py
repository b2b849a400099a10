"""Follows batch jobs: shows their output until Slurm or the job's own end record says that they ended."""

from __future__ import annotations

import signal
import time

from cmpi._core.slurm import end_record, states
from cmpi._core.slurm.states import State
from cmpi._runtime.linux.write_all import write_all
from cmpi._runtime.slurm_question import Inquiry, ask
from cmpi.errors import LaunchError
from cmpi.launcher import after_interrupt
from cmpi.launcher.slurm import job_files
from cmpi.launcher.slurm.calls import cancel, say, understood
from cmpi.launcher.slurm.job_files import JobFiles
from cmpi.launcher.slurm.script import FOLDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

OUTPUT_POLL_S = 0.1  # between looks at the output; Slurm is asked less often
PATIENT_S = 2.0  # how late output may be before cmpirun says so


class JobWatch:
    """What else is done while a job is followed: nothing, unless a subclass says so."""

    def show(self, fd: int, data: bytes) -> bytes:
        """Return what is to be shown of this output."""
        return data

    def turn(self, job: str) -> None:
        """Called a few times a second. Blocks: for Slurm's answer, if it asks it."""


def follow(job: str, on_interrupt: str = "ask", watch: JobWatch | None = None) -> int:
    """Show a job's output as it comes, from its start, until it ends. Returns cmpirun's exit code."""
    return _Follower(job, on_interrupt, watch).run()


class _Follower:
    """Follows one job."""

    def __init__(self, job: str, on_interrupt: str, watch: JobWatch | None) -> None:
        self._job, self._on_interrupt, self._watch = job, on_interrupt, watch or JobWatch()
        if watch is None:
            signal.signal(signal.SIGINT, self._on_sigint)
        self._files = job_files.find(job)
        self._read = {1: 0, 2: 0}
        self._said = ""
        self._interrupted = False

    def run(self) -> int:
        """Follow the job until it ends or the user stops. Returns cmpirun's exit code."""
        command = ("scontrol", "show", "job", "--oneliner", self._job)
        inquiry = Inquiry(self._say_silence, *command, understood=understood)
        state: State | None = None
        try:
            while state is None or not state.ended:
                if self._interrupted and self._ask_user():
                    return 130
                answer = inquiry.answer()
                if answer is not None:
                    state = self._take_in(states.parse_job(answer.out), answer.complaint)
                elif inquiry.silent:
                    state = self._by_record() or state
                self._watch.turn(self._job)
                if not self._show():
                    time.sleep(OUTPUT_POLL_S)
        finally:
            inquiry.close()
        arrived = self._show_rest(state)
        record = self._files.end()
        code = states.exit_code(state, record.code if record else None)
        if state.name in states.VERDICTS:
            say(f"job {self._job} was ended by Slurm ({state.name}): {states.VERDICTS[state.name][0]}")
        elif state.signal == end_record.NO_FILES:
            say(
                f"job {self._job} could not run: {state.nodes} could not open or write its folder "
                f"{self._files.folder}. Submit it from a folder that all nodes share."
            )
        elif not arrived:
            say(
                f"job {self._job} has ended on {state.nodes}, but its end record has not appeared in "
                f"{self._files.folder}/{FOLDER} within {end_record.WITHIN_S:.0f} s: the disk is full, "
                "or the nodes do not share this folder. Submit it from a folder that all nodes share."
            )
        return code

    def _take_in(self, state: State | None, complaint: str) -> State:
        """Take in Slurm's answer; returns the job's state."""
        if state is None:  # Slurm forgets a job some time after its end
            state = self._by_record()
            if state is None:
                where = f"and it has left no files in {self._files.folder}/{FOLDER}"
                raise LaunchError(f"Slurm knows no job {self._job}, {where}: {complaint}")
            return state
        if state.folder and not any(self._read.values()):
            self._files = job_files.find(self._job, state.folder)
        self._tell(state)
        return state

    def _by_record(self) -> State | None:
        """The final state by the job's own end record; None without one, or if Slurm may run it again."""
        record = self._files.end()
        if record is None or record.signalled:
            return None
        return State("COMPLETED" if record.code == 0 else "FAILED", code=record.code)

    def _show(self) -> bool:
        """Print new output; True if there was any."""
        new = False
        for fd, path in self._files.output.items():
            try:
                with open(path, "rb") as file:
                    file.seek(self._read[fd])
                    data = file.read(1 << 20)
            except FileNotFoundError:
                continue  # the job has not begun
            self._read[fd] += len(data)
            write_all(fd, self._watch.show(fd, data))
            new |= bool(data)
        return new

    def _show_rest(self, state: State) -> bool:
        """Print output that a shared file system shows late; False if the end record never appears here."""
        limit_s = _late_s(state)
        begun_s, told = time.monotonic(), False
        while True:
            record = self._files.end()
            new = self._show()
            if record is not None and end_record.complete(record, self._read) and not new:
                return True
            late_s = time.monotonic() - begun_s
            if not new and (late_s >= limit_s or self._interrupted):
                return record is not None or limit_s < end_record.WITHIN_S
            if late_s >= PATIENT_S and not told:
                told = True
                say(f"job {self._job} has ended; waiting for the last of its output to appear in {FOLDER}")
            if not new:
                time.sleep(OUTPUT_POLL_S)

    def _tell(self, state: State) -> None:
        if state.waiting:
            queue = ask("squeue", "--noheader", "--states=PENDING", "--sort=-p,i", "--format=%i", limit_s=5)
            n = states.ahead(queue.out, self._job)
            text = f"pending ({state.reason or 'not yet considered'}), {n} before it in the queue"
        elif state.ended:
            return
        else:
            text = f"runs on {state.nodes}" if state.name == "RUNNING" else state.name.lower()
        if text != self._said:
            self._said = text
            say(f"job {self._job} {text}")

    def _say_silence(self, text: str) -> None:
        say(f"job {self._job}: {text}")

    def _on_sigint(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True

    def _ask_user(self) -> bool:
        """Ask the user what to do; cancel the job if they say so. True: leave it and stop following."""
        self._interrupted = False
        choice = after_interrupt.choice(self._on_interrupt, f"job {self._job}", self._job)
        if choice == "cancel":
            cancel(self._job)  # and go on following, to see its end
        return choice == "leave"


def _late_s(state: State) -> float:
    """How long to wait for the end record of a job that has ended to appear here."""
    if state.signal == end_record.NO_FILES or (state.name in states.VERDICTS and not state.nodes):
        return 0.0
    if state.name in states.VERDICTS or state.signal:
        return end_record.KILLED_WITHIN_S
    return end_record.WITHIN_S


def is_array(job: str) -> bool:
    """Whether this is the number of a job array. Blocks: for Slurm's answer, at most 10 seconds."""
    if "_" in job:
        return False
    if job_files.tasks(job_files.find(job).folder, job):
        return True
    state = states.parse_job(ask("scontrol", "show", "job", "--oneliner", job).out)
    return state is not None and state.array


def follow_array(job: str, on_interrupt: str = "leave") -> int:
    """Report the tasks of a job array as they end, until all have ended. Their output stays in files.

    Returns: The exit code of the failed task with the lowest number; 0 if none failed.
    """
    try:
        return _ArrayFollower(job).run()
    except KeyboardInterrupt:
        if on_interrupt == "cancel":
            cancel(job)
        else:
            say(f"the tasks go on; to see their states: cmpirun --status {job}")
        return 130


class _ArrayFollower:
    """Follows the tasks of one array."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._folder = job_files.find(job).folder
        self._known: dict[str, State] = {}
        self._ended_s: dict[str, float] = {}
        self._codes: dict[str, int] = {}

    def run(self) -> int:
        """Follow the tasks until the last one ends."""
        fields = ("--noheader", "--array", "--states=all", f"--format={states.TASKS}")
        inquiry = Inquiry(say, "squeue", *fields, "--jobs", self._job, understood=understood)
        try:
            while not self._known or len(self._codes) < len(self._known):
                answer = inquiry.answer()
                if answer is not None:
                    self._take_in(states.parse_tasks(answer.out), answer.complaint)
                for task in sorted(self._known.keys() - self._codes.keys(), key=task_number):
                    self._look(task, inquiry.silent)
                time.sleep(OUTPUT_POLL_S)
        finally:
            inquiry.close()
        return next(
            (self._codes[task] for task in sorted(self._codes, key=task_number) if self._codes[task]), 0
        )

    def _take_in(self, now: dict[str, State], complaint: str) -> None:
        if not now and not self._known:
            self._known = {task: State("COMPLETED") for task in job_files.tasks(self._folder, self._job)}
            if not self._known:
                raise LaunchError(f"Slurm knows no job array {self._job}: {complaint}")
        self._known |= now
        for task, state in self._known.items():
            if task not in now or state.ended:
                self._ended_s.setdefault(task, time.monotonic())
            else:
                self._ended_s.pop(task, None)  # Slurm has started it again

    def _look(self, task: str, silent: bool) -> None:
        """Report a task's end, known from Slurm and the end record, or from the record if Slurm is
        silent."""
        record = JobFiles(self._folder, task).end()
        ended_s, state = self._ended_s.get(task), self._known[task]
        if ended_s is None:
            if not silent or record is None or record.signalled:
                return
            state = State("COMPLETED" if record.code == 0 else "FAILED", code=record.code)
        elif record is None and time.monotonic() < ended_s + _late_s(state):
            return
        self._codes[task] = code = states.exit_code(state, record.code if record else None)
        what = f"exit code {code}"
        if state.name in states.VERDICTS:
            what += f" ({states.VERDICTS[state.name][0]})"
        say(f"task {task} has ended: {what} ({FOLDER}/{task}.out)")


def task_number(task: str) -> int:
    """The sort key for tasks."""
    number = task.rpartition("_")[2]
    return int(number) if number.isdigit() else 0
