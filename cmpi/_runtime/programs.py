"""Locates the programs of cmpi that are started by their path.

They are started by path instead of `-m`, because cmpi's modules must not be looked up in a user's folders.
That takes `python -I`, or `isolated.py`.
"""

import os
import sys

ROOT_MAIN = "cmpi/_runtime/root/main.py"
FABRIC_MAIN = "cmpi/_runtime/fabric/main.py"
SPAWN_STUB = "cmpi/_runtime/monitor/spawn_stub.py"
RANK_MAIN = "cmpi/_runtime/process/rank_main.py"
RSH_CLIENT = "cmpi/launcher/hosts/rsh_client.py"
ISOLATED = "cmpi/_runtime/isolated.py"

# Functions that `isolated.py` can run.
CMPIRUN = "cmpi.launcher.__main__:main"
DOCTORS_JOB = "cmpi.launcher.doctor.probe_job:main"
FORK_SERVER = "cmpi._runtime.monitor.fork_server:main"
SLURM_TASK = "cmpi._slurm_task:main"
WORKER = "cmpi._runtime.process.worker:run"


def home() -> str:
    """The folder that holds the package `cmpi` on this host."""
    return os.path.abspath(__file__).rsplit("/", 3)[0]


def path_of(program: str) -> str:
    """The path of one of the programs above on this host."""
    return f"{home()}/{program}"


def spawn_stub(*arguments: str) -> list[str]:
    """The command of the spawn stub on this host: of the compiled one, if there is one."""
    script = path_of(SPAWN_STUB)
    compiled = script.removesuffix(".py")
    if os.access(compiled, os.X_OK):
        return [compiled, sys.executable, script, *arguments]
    return [sys.executable, "-I", "-S", script, *arguments]


def isolated(function: str, *arguments: str) -> list[str]:
    """The arguments with which an interpreter on this host runs one of these functions."""
    return [path_of(ISOLATED), function, *arguments]
