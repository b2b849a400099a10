"""Formats a plan for `--dry-run`. Pure."""

from __future__ import annotations

import json
import shlex

from cmpi._base.units import format_cpus, format_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi.launcher.plan import LaunchPlan


def ranges(numbers: list[int]) -> str:
    """Write ascending numbers with consecutive ones as ranges.

    >>> ranges([0, 1, 2, 5, 7, 8])
    '0-2,5,7-8'
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def as_text(plan: LaunchPlan, mpi: str) -> str:
    """The plan as text for people."""
    n = len(plan.where)
    lines = [f"{n} {'rank' if n == 1 else 'ranks'} of {shlex.join(plan.argv)}, with {mpi}:"]
    width = max(len(host.name) for host in plan.hosts)
    for host in plan.hosts:
        cpus, memory = format_cpus(host.cpu_units), format_memory(host.memory_bytes)
        on_it = plan.ranks_on(host.name)
        ranks = f"ranks {ranges(on_it)}" if on_it else "no rank"
        room = f"{cpus} cpus and {memory} for spawned processes"
        lines.append(f"  {host.name:{width}}  {host.slots} slots, {ranks}; {room}")
    return "\n".join(lines) + "\n"


def as_json(plan: LaunchPlan, mpi: str) -> str:
    """The plan as one JSON object."""
    places = [
        {
            "host": host.name,
            "slots": host.slots,
            "ranks": plan.ranks_on(host.name),
            "cpus": host.cpu_units / 65536,
            "memory_bytes": host.memory_bytes,
        }
        for host in plan.hosts
    ]
    shown = {"argv": plan.argv, "mpi": mpi, "hosts": places, "mpiexec": plan.mpiexec, "world": plan.world}
    return json.dumps(shown) + "\n"
