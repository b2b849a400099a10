"""Watches all batch jobs that this process waits for, with one query to Slurm for all of them."""

from __future__ import annotations

import threading
import time

from cmpi._core.slurm import states
from cmpi._core.slurm.patience import POLL_S
from cmpi._core.slurm.states import State
from cmpi._runtime.slurm_question import ask

RARE_S = 10.0  # between queries while Slurm does not answer


class SlurmPoller:
    """Knows the states of batch jobs. The threads that wait for jobs take turns to query all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waited: dict[str, int] = {}
        self._known: dict[str, State] = {}
        self._due_s = float("-inf")

    def wait_for(self, job: str) -> None:
        """Include this job in the queries from now on."""
        with self._lock:
            self._waited[job] = self._waited.get(job, 0) + 1
            self._due_s = float("-inf")

    def forget(self, job: str) -> None:
        """Leave this job out of the queries again."""
        with self._lock:
            self._waited[job] -= 1
            if not self._waited[job]:
                del self._waited[job]
                self._known.pop(job, None)

    def state(self, job: str) -> State | None:
        """Return the state of a job; None if it is not known yet. A job that Slurm has forgotten is
        "UNKNOWN".

        Blocks: for Slurm's answer, if it is this caller's turn to query; that happens once a second for all
        jobs together.
        """
        if self._lock.acquire(blocking=False):
            try:
                if time.monotonic() >= self._due_s:
                    self._ask()
            finally:
                self._lock.release()
        return self._known.get(job)

    def _ask(self) -> None:
        command = ["squeue", "--noheader", "--array", "--states=all", f"--format={states.TASKS}"]
        jobs = sorted(self._waited)
        answer = ask(*command, "--jobs", ",".join(sorted({job.partition("_")[0] for job in jobs})))
        answered = answer.code == 0 or (answer.code is not None and states.unknown(answer.complaint))
        self._due_s = time.monotonic() + (POLL_S if answered else RARE_S)
        if answered:
            queue = states.parse_tasks(answer.out)
            self._known |= {job: queue.get(job) or State("UNKNOWN") for job in jobs}


POLLER = SlurmPoller()
