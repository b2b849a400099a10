"""Locates a batch job's files: its output, its end record, and cmpi's own note of its folder."""

from __future__ import annotations

import json
import os
import time

from cmpi._core.slurm import end_record, tidy
from cmpi.launcher.slurm.script import FOLDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.slurm.end_record import EndRecord


class JobFiles:
    """The files of one job or task, in the `.cmpi` of `folder`."""

    def __init__(self, folder: str, job: str) -> None:
        self.folder = folder
        self._stem = f"{folder}/{FOLDER}/{job}"
        self.output = {1: f"{self._stem}.out", 2: f"{self._stem}.err"}

    def end(self) -> EndRecord | None:
        """The record of how its script ended; None if it is not written, or not visible here yet."""
        try:
            with open(f"{self._stem}.code") as file:
                return end_record.parse(file.read())
        except FileNotFoundError:
            return None

    def exist(self) -> bool:
        """Whether any of the files exists."""
        return any(os.path.exists(path) for path in (*self.output.values(), f"{self._stem}.code"))


def notes_folder() -> str:
    """The folder with a note for each job of where it was submitted (XDG Base Directory)."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return f"{state}/cmpi/slurm"


def note(job: str, folder: str) -> None:
    """Note where a job was submitted, and delete old notes. Does nothing if that cannot be written."""
    notes = notes_folder()
    try:
        os.makedirs(notes, mode=0o700, exist_ok=True)
        for entry in os.scandir(notes):
            if entry.stat().st_mtime < time.time() - tidy.AUTOMATIC_S:
                os.unlink(entry.path)
        with open(f"{notes}/{job}.new", "w") as file:
            json.dump({"folder": folder}, file)
        os.replace(f"{notes}/{job}.new", f"{notes}/{job}")
    except OSError:
        return


def noted(job: str) -> str:
    """The folder from which a job, or the array of a task, was submitted; "" if there is no note of it."""
    try:
        with open(f"{notes_folder()}/{job.partition('_')[0]}") as file:
            folder = json.load(file)["folder"]
            return folder if isinstance(folder, str) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def noted_s(job: str) -> float:
    """When the job was submitted, in seconds since 1970; 0 if there is no note of it."""
    try:
        return os.stat(f"{notes_folder()}/{job.partition('_')[0]}").st_mtime
    except OSError:
        return 0.0


def all_noted() -> dict[str, str]:
    """The folder of each job that has a note."""
    try:
        jobs = [name for name in os.listdir(notes_folder()) if name.isdigit()]
    except OSError:
        return {}
    return {job: folder for job in jobs if (folder := noted(job))}


def here() -> set[str]:
    """The jobs and tasks that have written something in this folder."""
    return _written(os.getcwd())


def tasks(folder: str, job: str) -> set[str]:
    """The tasks of a job array that have written something in the `.cmpi` of `folder`."""
    return {name for name in _written(folder) if name.startswith(f"{job}_")}


def _written(folder: str) -> set[str]:
    try:
        names = os.listdir(f"{folder}/{FOLDER}")
    except OSError:
        return set()
    jobs = {name.partition(".")[0] for name in names if name.endswith((".out", ".code"))}
    return {name for name in jobs if name.replace("_", "").isdigit()}


def find(job: str, said: str = "") -> JobFiles:
    """The files of a job: in this folder, in the noted one, or in `said`, the one that Slurm reports."""
    cwd = os.getcwd()
    is_here = JobFiles(cwd, job).exist() or tasks(cwd, job)
    return JobFiles(cwd if is_here else noted(job) or said or cwd, job)
