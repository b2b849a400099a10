"""What a job would do where: the plan that `--dry-run` shows. Pure."""

from __future__ import annotations

import json
import shlex

from cmpi._base.frozen import frozen
from cmpi._base.units import format_cpus, format_memory


@frozen
class PlannedHost:
    """A host, what the job may use there, and its ranks."""

    name: str
    slots: int
    cpu_units: int
    memory_bytes: int
    ranks: list[int]


def ranges(numbers: list[int]) -> str:
    """Ascending numbers, neighbours together.

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


def as_text(argv: list[str], mpi: str, hosts: list[PlannedHost]) -> str:
    """The plan for a person's eyes."""
    n = sum(len(host.ranks) for host in hosts)
    lines = [f"{n} {'rank' if n == 1 else 'ranks'} of {shlex.join(argv)}, with {mpi}:"]
    width = max(len(host.name) for host in hosts)
    for host in hosts:
        what = (
            f"{format_cpus(host.cpu_units)} cpus and {format_memory(host.memory_bytes)} for what is spawned"
        )
        ranks = f"ranks {ranges(host.ranks)}" if host.ranks else "no rank"
        lines.append(f"  {host.name:{width}}  {host.slots} slots, {ranks}; {what}")
    return "\n".join(lines) + "\n"


def as_json(argv: list[str], mpi: str, hosts: list[PlannedHost]) -> str:
    """The plan as one object."""
    places = [
        {
            "host": host.name,
            "slots": host.slots,
            "ranks": host.ranks,
            "cpus": host.cpu_units / 65536,
            "memory_bytes": host.memory_bytes,
        }
        for host in hosts
    ]
    return json.dumps({"argv": argv, "mpi": mpi, "hosts": places}) + "\n"
