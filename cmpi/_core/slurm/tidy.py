"""Decides which files of batch jobs in a `.cmpi` folder may be deleted. Pure.

A job's own files are its output and its end record: `JOB.out`, `JOB.err` and `JOB.code`, where `JOB` is `7`
or `7_3`. The script of a submission, and the function and results of `cmpi.slurm`, do not name a job: they
are kept as long as a job that was submitted no later may need them. Other files are not ours.
"""

from __future__ import annotations

import re

from cmpi._base.frozen import frozen

_OF_A_JOB = re.compile(r"(\d+)(?:_\d+)?\.(?:out|err|code|code\.new)")
_OF_A_SUBMISSION = re.compile(r"\d{8}-\d{6}-\d+\.sh|call-[0-9a-f]{12}(?:\.[\d.]+)?(?:\.new)?")
EARLIER_S = 60.0  # a script is written so long before the job is noted, at most: sbatch can be slow
AUTOMATIC_S = 180 * 86_400.0  # what is so old is deleted when the next job is submitted


@frozen
class Tidied:
    """The files that may be deleted, and the jobs they belong to."""

    files: list[str]
    jobs: int  # how many jobs they belong to
    kept: int  # how many jobs keep their files


def old(changed_s: dict[str, float], before_s: float, alive: dict[str, float]) -> Tidied:
    """The files that may be deleted.

    Args:
        changed_s: When each file of the folder was changed last.
        before_s: Nothing that was changed at this time or later may be deleted.
        alive: The jobs that have not ended, and when each was submitted (0: not known).

    >>> files = {"7.out": 10.0, "7.err": 20.0, "8.out": 5.0, "notes.txt": 1.0}
    >>> old(files, 30.0, {"8": 4.0})
    Tidied(files=['7.err', '7.out'], jobs=1, kept=1)
    """
    last_s: dict[str, float] = {}
    owner: dict[str, str] = {}
    for name, time_s in changed_s.items():
        if match := _OF_A_JOB.fullmatch(name):
            owner[name] = job = match[1]
            last_s[job] = max(time_s, last_s.get(job, time_s))
    over = {job for job, time_s in last_s.items() if time_s < before_s and job not in alive}
    needed_s = min([before_s, *(time_s - EARLIER_S for time_s in alive.values())])
    files = [name for name, job in owner.items() if job in over]
    files += [
        name for name, time_s in changed_s.items() if _OF_A_SUBMISSION.fullmatch(name) and time_s < needed_s
    ]
    return Tidied(sorted(files), len(over), len(last_s) - len(over))
