"""Finds the hosts that a batch scheduler has allocated to the job that cmpirun runs in. Pure.

Sources: OpenPBS, qsub(1B) "PBS_NODEFILE"; IBM LSF, "Environment variables", LSB_DJOB_HOSTFILE; Grid Engine,
sge_pe(5), PE_HOSTFILE; Slurm, sbatch(1) "OUTPUT ENVIRONMENT VARIABLES".
"""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi._base.units import CPU_UNIT
from cmpi.errors import UsageError
from cmpi.launcher.hosts.hostfile import HostSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PBS, LSF, GRID_ENGINE = "PBS", "LSF", "Grid Engine"
# The variable that names the file with the hosts, and one that shows that this is a scheduler's job.
_SOURCES = (
    (PBS, "PBS_NODEFILE", "PBS_JOBID"),
    (LSF, "LSB_DJOB_HOSTFILE", "LSB_JOBID"),
    (GRID_ENGINE, "PE_HOSTFILE", "JOB_ID"),
)


@frozen
class Source:
    """The file in which a scheduler lists the hosts of this job."""

    scheduler: str
    variable: str
    path: str


def in_slurm(environment: Mapping[str, str]) -> bool:
    """Whether cmpirun runs in a Slurm job on several nodes; `scontrol` tells which."""
    text = environment.get("SLURM_JOB_NUM_NODES", "1")
    return text.isdigit() and int(text) > 1


def source(environment: Mapping[str, str]) -> Source | None:
    """The file with the hosts of this job; None if there is none, or if this is a Slurm job."""
    if "SLURM_JOB_ID" in environment:
        return None
    for scheduler, variable, job in _SOURCES:
        if environment.get(variable) and environment.get(job):
            return Source(scheduler, variable, environment[variable])
    return None


def hosts(source: Source, text: str, environment: Mapping[str, str]) -> list[HostSpec]:
    """The hosts in the file, with the slots on each; [] if there is only one host, which is this one.

    Raises:
        UsageError: A line does not have the form that the scheduler writes.

    >>> sge = Source(GRID_ENGINE, "PE_HOSTFILE", "/f")
    >>> [(it.name, it.slots) for it in hosts(sge, "a 2 all.q@a UNDEFINED\\nb 1 all.q@b UNDEFINED\\n", {})]
    [('a', 2), ('b', 1)]
    """
    slots: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        counted = source.scheduler == GRID_ENGINE
        if len(words) != 1 and not (counted and words[1].isdigit()):
            form = "a host, its slots, queue and cores" if counted else "a host for each slot"
            raise UsageError(
                f"{source.path}:{number}: expected {form}, as {source.scheduler} writes it; found: "
                f"{line!r}. Name the hosts with --host or --hostfile."
            )
        slots[words[0]] = slots.get(words[0], 0) + (int(words[1]) if counted and words[1:] else 1)
    if len(slots) < 2:
        return []
    cores = (
        environment.get("NCPUS", "") if source.scheduler == PBS else ""
    )  # of each chunk, with its threads
    least = int(cores) if cores.isdigit() else 1
    return [HostSpec(name, name, n, 0, max(n, least) * CPU_UNIT) for name, n in slots.items() if n]
