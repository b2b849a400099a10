"""The closing report: what failed first, in words that help."""

from __future__ import annotations

from cmpi._base.units import format_memory
from cmpi._core.job.job import JobMachine
from cmpi._core.job.process_record import Process
from cmpi._core.job.usage import Usage
from cmpi._core.output.output import VERBOSE
from cmpi.identifiers import NO_PID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MOST_LINES = 12
MOST_OTHERS = 4
MOST_NAMES = 4
MOST_ALIKE = 8


def final_report(job: JobMachine, tail: Callable[[int], bytes], verbosity: int, owner: int = NO_PID) -> str:
    """The report on the first failure, "" if there was none; if VERBOSE, on memory too.

    Args:
        job: The job.
        tail: Returns the end of a process's stderr, as far as it is not visible any more.
        verbosity: QUIET, NORMAL or VERBOSE.
        owner: The cmpirun that deployed the program that is over; NO_PID: it is the job's own.
    """
    verbose = verbosity >= VERBOSE
    return _failure(job, tail, verbose, owner) + (memory_report(job, owner) if verbose else "")


def _usage_of(job: JobMachine, owner: int) -> Usage:
    return job.programs[owner].usage.with_all(_of(job, owner))


def _of(job: JobMachine, owner: int) -> list[Process]:
    """The processes of a program that have a record; for the job's own program, of all programs."""
    return [p for p in job.processes.values() if owner == NO_PID or (p.guest == owner and not p.is_guest)]


def _failure(job: JobMachine, tail: Callable[[int], bytes], verbose: bool, owner: int) -> str:
    program, processes = job.programs[owner], _of(job, owner)
    process = program.failures.first(owner)
    if job.interruption is not None or program.interruption is not None or process is None:
        return ""
    several_hosts = len(_usage_of(job, owner).hosts) > 1
    lines = [
        f"cmpirun: {process.title} failed: {_how(process)}",
        f"    ran     {_short(process.label)}",
    ]
    if verbose or several_hosts:
        lines.append(f"    host    {process.host}")
    if process.parent in job.processes:
        parent = job.processes[process.parent]
        lines.append(
            f"    parent  {parent.title}" + ("" if parent.is_rank else f", {_short(parent.label)}")
        )
    if verbose:
        lines += _usage(process)
    if process.core:
        lines.append(f"    core    {process.core}")
    failed = [p for p in processes if p.status is not None and not p.status.ok]
    lines += _others([p for p in failed if p is not process and program.failures.counts(p)])
    if not process.is_rank and not program.failures.strict:
        lines.append("    unseen  no process of the job has handled this failure")
    alike = [p for p in processes if p.trace and p.trace == process.trace]
    if len(alike) > 1:
        lines.append(f"    alike   {_names(alike)} raised the same")
        return "\n".join(lines) + "\n"
    last = tail(process.pid).decode("utf-8", "replace").splitlines()[-MOST_LINES:]
    if last:
        lines.append("    its last lines on stderr:")
        lines += [f"      {line}" for line in last]
    return "\n".join(lines) + "\n"


def end_event(job: JobMachine, code: int, wall_s: float, owner: int = NO_PID) -> dict[str, object]:
    """The last event of a program in JSON form: its exit code, its first failure, and its usage."""
    program, used = job.programs[owner], _usage_of(job, owner)
    interrupted = job.interruption is not None or program.interruption is not None
    first: dict[str, object] | None = None
    process = program.failures.first(owner)
    if process is not None and not interrupted:
        status = process.status
        assert status is not None
        first = {
            "pid": f"{process.pid:07x}",
            "rank": process.rank if process.is_rank else None,
            "name": process.name,
            "host": process.host,
            "code": status.code,
            "signal": status.signal,
            "verdict": status.verdict,
        }
    usage = {
        "processes": used.processes,
        "wall_s": round(wall_s, 3),
        "cpu_s": round(used.cpu_s, 3),
        "peak_bytes": used.peak_bytes,
    }
    return {
        "code": code,
        "interrupted": interrupted,
        "first_failure": first,
        "usage": usage,
    }


def _how(process: Process) -> str:
    status = process.status
    assert status is not None
    if process.fault:
        return process.fault
    if status.signal:
        return f"ended by {status}"
    return f"exit code {status}"


def _names(processes: list[Process]) -> str:
    names = [process.title for process in processes]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}"


def _others(failed: list[Process]) -> list[str]:
    """The lines for processes that failed after the first; equal failures are grouped."""
    alike: dict[str, list[Process]] = {}
    for process in failed:
        alike.setdefault(str(process.status), []).append(process)
    lines = [f"    later   {_names(same)}: {how}" for how, same in list(alike.items())[:MOST_OTHERS]]
    if len(alike) > MOST_OTHERS:
        lines.append(f"            and others in {len(alike) - MOST_OTHERS} more ways")
    return lines


def deadlock_report(job: JobMachine, blocked: dict[int, tuple[int, list[str]]]) -> str:
    """The report on a job whose processes all wait for each other: which, for which, where, and how
    long."""
    shortages = {pid: job.shortages(pid) for pid in blocked}
    if any(shortages.values()):
        lines = [
            "cmpirun: deadlock for lack of room: all processes of the job wait, and none will release "
            "resources"
        ]
    else:
        lines = ["cmpirun: deadlock: all processes of the job wait, and nothing is under way between them"]
    alike: dict[tuple[str, ...], list[int]] = {}  # by what they run and wait for, leaving out how long
    for pid in sorted(blocked, key=lambda pid: job.processes[pid].start):
        waits = [*(wait.rpartition(", for ")[0] for wait in blocked[pid][1]), *shortages[pid]]
        alike.setdefault((job.processes[pid].label, *waits), []).append(pid)
    for (label, *_), pids in alike.items():
        same = [job.processes[pid] for pid in pids]
        who = same[0].title if len(same) == 1 else f"processes {_names(same)}"
        lines.append(f"    {who}: {_short(label)}")
        lines += [f"        {wait}" for wait in [*blocked[pids[0]][1], *shortages[pids[0]]]]
    lines.append("    (cmpirun --no-deadlock-check lets them wait)")
    return "\n".join(lines) + "\n"


def memory_report(job: JobMachine, owner: int = NO_PID) -> str:
    """How much of the memory that processes asked for was used, so that users learn what to ask for; "" if
    none asked for more than next to nothing."""
    alike = _usage_of(job, owner).memory
    if not alike:
        return ""
    lines = ["cmpirun: memory asked for, and peak memory used"]
    for (label, asked), (n, peak_bytes) in list(alike.items())[:MOST_ALIKE]:
        many = f" ({n} processes)" if n > 1 else ""
        used = f"asked {format_memory(asked)}, used {format_memory(peak_bytes)}"
        lines.append(f"    {_short(label)}{many}: {used}")
    if len(alike) > MOST_ALIKE:
        lines.append(f"    and {len(alike) - MOST_ALIKE} more; --output json has all")
    return "\n".join(lines) + "\n"


def _usage(process: Process) -> list[str]:
    if not process.peak_bytes:
        return []  # it never ran, or its monitor was lost
    asked = f"asked {format_memory(process.resources.memory_bytes)}, " if process.asks_memory else ""
    return [f"    memory  {asked}used {format_memory(process.peak_bytes)} at most"]


def _short(label: str) -> str:
    line = " ".join(label.split())
    return line if len(line) <= 100 else line[:97] + "..."
