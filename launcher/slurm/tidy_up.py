"""Deletes old files of batch jobs from `.cmpi`: all of a folder's at `cmpirun --clean`, and very old ones
when a job is submitted there."""

from __future__ import annotations

import getpass
import os
import time

from cmpi._core.slurm import tidy
from cmpi._runtime.slurm_question import ask
from cmpi.errors import LaunchError, UsageError
from cmpi.launcher.slurm import job_files
from cmpi.launcher.slurm.script import FOLDER


def clean(days: str) -> int:
    """Delete the files of the jobs in this folder that ended at least so many days ago ("": 0).

    Returns: cmpirun's exit code.

    Raises:
        UsageError: `days` is not a number.
        LaunchError: Slurm does not say which jobs have not ended.

    Blocks: for Slurm's answer.
    """
    try:
        age_s = float(days or 0) * 86_400
    except ValueError:
        raise UsageError(f"--clean: expected a number of days; found {days!r}") from None
    answer = ask("squeue", "--noheader", "--format=%i", "--user", getpass.getuser())
    if answer.code != 0:
        raise LaunchError(
            f"Slurm does not say which jobs have not ended, so nothing was deleted ({answer.complaint})"
        )
    queued = {job.partition("_")[0] for job in answer.out.split()}
    alive = {job: job_files.noted_s(job) for job in queued}
    tidied, freed_bytes = _delete(time.time() - age_s, alive)
    what = f"deleted {len(tidied.files)} files of {tidied.jobs} jobs, {freed_bytes / 1e6:.1f} MB"
    print(f"{what}; kept those of {tidied.kept}")
    return 0


def delete_very_old() -> None:
    """Delete what no job has changed for half a year. Errors are ignored."""
    _delete(time.time() - tidy.AUTOMATIC_S, {})


def _delete(before_s: float, alive: dict[str, float]) -> tuple[tidy.Tidied, int]:
    try:
        found = {entry.name: entry.stat(follow_symlinks=False) for entry in os.scandir(FOLDER)}
    except OSError:
        found = {}  # there is none, or a file has just been deleted
    tidied = tidy.old({name: it.st_mtime for name, it in found.items()}, before_s, alive)
    freed_bytes = 0
    for name in tidied.files:
        try:
            os.unlink(f"{FOLDER}/{name}")
            freed_bytes += found[name].st_size
        except OSError:
            continue
    return tidied, freed_bytes
