"""Messages of all sizes through pipelines that close early, are cancelled and are killed, all counted."""

from __future__ import annotations

import os
import subprocess
import sys

from cmpi.bench.common import ENVIRONMENT, header


def soak(seconds: float, seed: int) -> int:
    """Soak for so long; 0 if no message was lost, came twice or out of order, and nothing grew."""
    print(f"{header()}, soaking for {seconds:.0f} s, seed {seed}", flush=True)
    before = set(os.listdir("/dev/shm"))
    command = ["cmpirun", "--output", "plain", sys.executable, "-m", "cmpi.bench.soaking"]
    job = subprocess.Popen(
        [*command, str(seconds), str(seed)], env=dict(ENVIRONMENT, PYTHONWARNINGS="ignore")
    )
    try:
        code = job.wait(seconds + 60)
    except subprocess.TimeoutExpired:
        job.terminate()
        job.wait()
        print(f"HUNG: still running {seconds + 60:.0f} s after it began")
        return 1
    left = sorted(set(os.listdir("/dev/shm")) - before)
    if left:
        print(f"left in /dev/shm: {left}")
    return 1 if code or left else 0
