"""`cmpirun --add-slurm N`: adds N nodes of another allocation to a running job, while it runs."""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from cmpi._core.protocol import command_launcher
from cmpi._runtime import programs
from cmpi._runtime.slurm_question import ask
from cmpi.errors import LaunchError, UsageError
from cmpi.launcher.hosts import add_host
from cmpi.launcher.hosts.remote_host import by_srun
from cmpi.launcher.slurm import calls, script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._transport.control_socket import ControlSocket
    from cmpi.launcher.config import LaunchConfig

LOOK_S = 1.0  # between questions whether the nodes are there
AGENTS_S = 15.0  # how long agents may take to clean up before their allocation is given back
STAY_S = 10.0  # between questions whether they still are


def run(config: LaunchConfig) -> int:
    """Add the nodes, and give them back on Ctrl-C or SIGTERM, or when the job or the allocation ends.

    Returns: cmpirun's exit code: 0 if all nodes were added.

    Raises:
        UsageError: The number of nodes is below 1.
        LaunchError: There is no such job, or Slurm does not give the nodes.

    Blocks: until then.
    """
    if config.add_slurm < 1:
        raise UsageError(f"--add-slurm {config.add_slurm}: expected a number of nodes, 1 or more")
    here = os.environ.get("SLURM_JOB_ID", "")
    if config.job.isdigit() and config.job != here:
        _go_there(config.job)
    folder = add_host.find("" if config.job == here else config.job)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    job, stream = "", None
    try:
        job = _submit(config)
        nodes = _nodes(job)
        stream, faults = add_host.ask(folder, ",".join(nodes), job)
        if len(faults) < len(nodes):
            calls.say(f"job {job} gives {len(nodes) - len(faults)} nodes; Ctrl-C gives them back")
            _stay(stream, job)
        return 1 if faults else 0
    except KeyboardInterrupt:
        return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if stream is not None:
            stream.send(command_launcher.GiveBack())
            add_host.answer(stream)
            _let_agents_end(job)
        if job:
            ask("scancel", job)


def _let_agents_end(job: str) -> None:
    """Wait for the agents in this allocation, which remove their files before they end: a job that has
    ended does not wait for them. Blocks: `AGENTS_S` at most."""
    end_s = time.monotonic() + AGENTS_S
    while time.monotonic() < end_s:
        answer = ask("squeue", "--steps", "--noheader", "--jobs", job, "--format", "%i")
        if answer.code != 0 or not any(step.rpartition(".")[2].isdigit() for step in answer.out.split()):
            return
        time.sleep(LOOK_S / 2)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _go_there(job: str) -> None:
    """Continue on the first node of a Slurm job, where its cmpirun is. Raises: LaunchError."""
    state = calls.show(job)
    if state is None or state.name != "RUNNING":
        raise LaunchError(f"job {job} is not running{f' ({state.name})' if state else ''}")
    first = calls.hostnames(state.nodes)[0]
    again = [sys.executable, *programs.isolated(programs.CMPIRUN), *sys.argv[1:]]
    command = by_srun(first, again, job)
    command.insert(command.index("srun") + 1, "--disable-status")  # the first Ctrl-C is for us
    sys.stderr.flush()
    os.execvp(command[0], command)


def _submit(config: LaunchConfig) -> str:
    assert config.batch is not None
    here = os.environ.get("SLURM_JOB_ID", "")
    ours = calls.show(here) if here else None
    command = script.allocate(config.batch, config.add_slurm, ours.nodes if ours else "")
    answer = ask(*command, limit_s=calls.SUBMIT_S)
    if answer.code != 0:
        raise LaunchError(f"Slurm granted no nodes: {answer.complaint}")
    return answer.out.strip().partition(";")[0]


def _nodes(job: str) -> list[str]:
    """The nodes of the allocation, once it begins."""
    said = ""
    while True:
        state = calls.show(job)
        if state is None or state.ended:
            raise LaunchError(f"job {job}, which was to give the nodes, has ended")
        if state.name == "RUNNING":
            return calls.hostnames(state.nodes)
        if state.reason and state.reason != said:
            said = state.reason
            calls.say(f"job {job} waits for the nodes ({said})")
        time.sleep(LOOK_S)


def _stay(stream: ControlSocket, job: str) -> None:
    """Wait until the job or the allocation has ended."""
    while not stream.closed:
        if select.select([stream], [], [], STAY_S)[0]:
            stream.receive()
            continue
        try:
            state = calls.show(job)
        except LaunchError:
            continue  # Slurm does not answer; the job itself notices lost nodes
        if state is None or state.ended:
            calls.say(f"job {job}, which gave the nodes, has ended")
            return
