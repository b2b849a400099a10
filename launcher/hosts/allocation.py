"""Finds the hosts that a batch scheduler has allocated to the job that cmpirun runs in. Pure.

Sources: OpenPBS, qsub(1B) "PBS_NODEFILE"; IBM LSF, "Environment variables", LSB_DJOB_HOSTFILE; Grid Engine,
sge_pe(5), PE_HOSTFILE; Slurm, sbatch(1) "OUTPUT ENVIRONMENT VARIABLES"; Flux, RFC 20 "Resource Set
Specification"; Kubeflow's MPI operator, the launcher's environment and `kubexec.sh`.
"""

from __future__ import annotations

import re

from cmpi._base.frozen import frozen
from cmpi._base.units import CPU_UNIT
from cmpi.errors import UsageError
from cmpi.launcher.hosts.hostfile import HostSpec, expand, parse_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PBS, LSF, GRID_ENGINE, KUBERNETES = "PBS", "LSF", "Grid Engine", "the MPI operator"
RSH_AGENT = "OMPI_MCA_plm_rsh_agent"  # names the operator's `kubexec.sh`
# The variable that names the file with the hosts, and one that shows that this is a scheduler's job.
_SOURCES = (
    (PBS, "PBS_NODEFILE", "PBS_JOBID"),
    (LSF, "LSB_DJOB_HOSTFILE", "LSB_JOBID"),
    (GRID_ENGINE, "PE_HOSTFILE", "JOB_ID"),
    (KUBERNETES, "OMPI_MCA_orte_default_hostfile", "KUBERNETES_SERVICE_HOST"),
    (KUBERNETES, "PRTE_MCA_prte_default_hostfile", "KUBERNETES_SERVICE_HOST"),
    (KUBERNETES, "HYDRA_HOST_FILE", "KUBERNETES_SERVICE_HOST"),
)


@frozen
class HostSource:
    """The file in which a scheduler lists the hosts of this job."""

    scheduler: str
    variable: str
    path: str


def in_slurm(environment: Mapping[str, str]) -> bool:
    """Whether cmpirun runs in a Slurm job on several nodes; `scontrol` tells which."""
    text = environment.get("SLURM_JOB_NUM_NODES", "1")
    return text.isdigit() and int(text) > 1


def in_flux(environment: Mapping[str, str]) -> bool:
    """Whether cmpirun runs in a Flux instance of its own (flux batch, flux alloc); `flux resource R` tells
    the hosts. In a job that shares its instance with others, FLUX_JOB_ID is set."""
    return bool(environment.get("FLUX_URI")) and not environment.keys() & {"FLUX_JOB_ID", "SLURM_JOB_ID"}


def flux_hosts(text: str) -> list[HostSpec]:
    """The hosts in a resource set of Flux, with a slot for each core; [] if there is only one, this one.

    Raises:
        UsageError: It does not have that form.

    >>> r_lite = '[{"rank": "0-1", "children": {"core": "0-3"}}]'
    >>> text = '{"execution": {"R_lite": ' + r_lite + ', "nodelist": ["n[1-2]"]}}'
    >>> [(it.name, it.slots) for it in flux_hosts(text)]
    [('n1', 4), ('n2', 4)]
    """
    import json

    try:
        execution = json.loads(text)["execution"]
        words = [word for part in execution["nodelist"] for word in re.split(r",(?![^\[]*\])", part)]
        names = [name for word in words for name in expand(word)]
        cores = {
            rank: len(_ids(group["children"]["core"]))
            for group in execution["R_lite"]
            for rank in _ids(group["rank"])
        }
        slots = {name: cores[rank] for name, rank in zip(names, sorted(cores), strict=True)}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            f"cannot read the hosts of this Flux instance; `flux resource R` said: {text[:200]!r}. Name "
            "the hosts with --host or --hostfile."
        ) from None
    if len(slots) < 2:
        return []
    return [HostSpec(name, name, n, 0, n * CPU_UNIT) for name, n in slots.items()]


def _ids(text: str) -> list[int]:
    """Expand a set of numbers of Flux: "0-3,7"."""
    return [int(name[1:]) for name in expand(f"n[{text}]")]


def kubectl(script: str) -> str:
    """The kubectl that the operator's `kubexec.sh` runs; "" if it runs none.

    Through `kubexec.sh` itself, commands have no input.

    >>> kubectl("set -x\\nPOD_NAME=$1\\nshift\\n/opt/kube/kubectl exec ${POD_NAME} -- /bin/sh -c ...")
    '/opt/kube/kubectl'
    """
    found = re.search(r"^\s*(?:exec\s+)?(\S*kubectl)\s+exec\b", script, re.M)
    return found[1] if found else ""


def source(environment: Mapping[str, str]) -> HostSource | None:
    """The file with the hosts of this job; None if there is none, or if this is a Slurm job."""
    if "SLURM_JOB_ID" in environment:
        return None
    for scheduler, variable, job in _SOURCES:
        if environment.get(variable) and environment.get(job):
            return HostSource(scheduler, variable, environment[variable])
    return None


def hosts(source: HostSource, text: str, environment: Mapping[str, str]) -> list[HostSpec]:
    """The hosts in the file, with the slots on each; [] if there is only one host, which is this one.

    Raises:
        UsageError: A line does not have the form that the scheduler writes.

    >>> sge = HostSource(GRID_ENGINE, "PE_HOSTFILE", "/f")
    >>> [(it.name, it.slots) for it in hosts(sge, "a 2 all.q@a UNDEFINED\\nb 1 all.q@b UNDEFINED\\n", {})]
    [('a', 2), ('b', 1)]
    """
    if source.scheduler == KUBERNETES:
        return parse_file(text, source.path)  # of pods; the launcher's own is not one of them
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
