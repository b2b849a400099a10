"""Computes how much of a host this job may use, which may be less than the machine has.

It is the least of what CPU affinity, the cgroup's quota and memory limit, and Slurm's allocation permit.
The user's `--cpus` and `--memory` override all of them.
"""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi._base.units import CPU_UNIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class Facts:
    """Facts read on the host. Strings are contents of files, "" if there is no such file."""

    affinity_cpus: int
    memory_bytes: int
    cpu_max: str = ""  # cgroup v2 cpu.max of every level, one a line; v1 converted to this form
    memory_max: str = ""  # cgroup v2 memory.max, or v1 memory.limit_in_bytes, in the same form


def usable(facts: Facts, environment: Mapping[str, str]) -> tuple[int, int]:
    """The CPUs, in scheduler units, and bytes that this job may use on the host.

    Blocks: never. Source: Linux `cgroup-v2.rst`, "cpu.max" and "memory.max", and `cgroup-v1/`;
    sbatch(1), "Output Environment Variables".

    >>> usable(Facts(8, 1 << 30, cpu_max="150000 100000"), {}) == (98304, 1 << 30)
    True
    """
    cpus = [facts.affinity_cpus * CPU_UNIT]
    memory = [facts.memory_bytes]
    for line in facts.cpu_max.splitlines():
        quota, _, period = line.partition(" ")
        if quota.isdigit() and period.strip().isdigit() and int(period) > 0:
            cpus.append(max(1, int(quota) * CPU_UNIT // int(period)))
    memory += [int(line) for line in facts.memory_max.splitlines() if line.strip().isdigit()]
    on_node = environment.get("SLURM_CPUS_ON_NODE", "")
    if on_node.isdigit() and int(on_node) > 0:
        cpus.append(int(on_node) * CPU_UNIT)
    per_node = environment.get("SLURM_MEM_PER_NODE", "")
    per_cpu = environment.get("SLURM_MEM_PER_CPU", "")
    if per_node.isdigit() and int(per_node) > 0:
        memory.append(int(per_node) << 20)
    elif per_cpu.isdigit() and on_node.isdigit() and int(per_cpu) > 0:
        memory.append((int(per_cpu) * int(on_node)) << 20)
    return min(cpus), min(memory)
