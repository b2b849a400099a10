"""The program of each rank in a batch job of `cmpi.slurm.submit`; its argument is the name of a FILE.

The result goes to FILE.RANK, or FILE.TASK.RANK in a job array. It is first written under another name, so
that readers find a complete file or none.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import Any

import cloudpickle

from cmpi._runtime.linux.own_file import open_own
from cmpi.identifiers import RAISED


def main() -> int:
    """Call the function, and write its outcome to the file."""
    path = sys.argv[1]
    with open_own(path) as file:
        function, calls, sys_path = pickle.load(file)
    # The variable alone does not tell: a job inherits it if a task of another array has submitted the job.
    task = os.environ["SLURM_ARRAY_TASK_ID"] if sys.argv[2:] == ["array"] else ""
    arguments = calls[int(task or 0)]
    path += f".{task}" if task else ""
    sys.path[:] = sys_path
    rank = next((os.environ[n] for n in ("PMIX_RANK", "PMI_RANK") if n in os.environ), "0")
    try:
        outcome: tuple[Any, ...] = (function(*arguments),)
        data = cloudpickle.dumps(outcome)
    except Exception as error:
        traceback.print_exc()
        outcome = None, _portable(error)
        data = cloudpickle.dumps(outcome)
    flags = (
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    )  # no link that another user has made there
    with open(os.open(f"{path}.{rank}.new", flags, 0o600), "wb") as file:
        file.write(data)
    os.rename(f"{path}.{rank}.new", f"{path}.{rank}")
    return RAISED if len(outcome) > 1 else 0


def _portable(error: Exception) -> Exception:
    """The exception with its traceback as a note; replaced by a plain one if it cannot be pickled."""
    text = "".join(traceback.format_exception(error))
    try:
        if hasattr(error, "add_note"):
            error.add_note(f"in the batch job:\n{text}")
        pickle.loads(cloudpickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"in the batch job:\n{text}")
