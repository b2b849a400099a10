"""Chooses the hosts of a job, and how cmpirun reaches them: as the user says, or from a batch scheduler.

Modules are imported inside functions: most jobs run on one host, and each import would delay their start.
"""

from __future__ import annotations

import functools
import os

from cmpi.errors import UsageError

FLUX_S = 20.0  # how long Flux may take to answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cmpi.launcher.config import LaunchConfig
    from cmpi.launcher.hosts.hostfile import HostSpec
    from cmpi.launcher.hosts.multi_host import MultiHost
    from cmpi.launcher.hosts.remote_host import Way
    from cmpi.launcher.mpi.find_mpi import Mpi


def hosts(config: LaunchConfig) -> list[HostSpec]:
    """The hosts that the user names, or that a scheduler has allocated; []: only this host.

    Raises:
        UsageError: A hostfile or a list of hosts cannot be read.
    """
    if not (config.host or config.hostfile):
        return _allocated()
    from cmpi.launcher.hosts import hostfile

    if config.host:
        named = hostfile.parse_list(config.host)
    else:
        try:
            with open(config.hostfile) as file:
                named = hostfile.parse_file(file.read(), config.hostfile)
        except OSError as error:
            raise UsageError(f"cannot read --hostfile {config.hostfile}: {error.strerror}") from None
    return [hostfile.with_defaults(host, config.cpu_units, config.memory_bytes) for host in named]


def _allocated() -> list[HostSpec]:
    """The hosts that Slurm or another scheduler has allocated to this job; []: only this host."""
    from cmpi.launcher.hosts import allocation

    if allocation.in_slurm(os.environ):
        from cmpi.launcher.slurm import calls

        return calls.allocated()
    if allocation.in_flux(os.environ):
        return allocation.flux_hosts(_flux_resources())
    source = allocation.source(os.environ)
    if source is None:
        return []
    try:
        with open(source.path) as file:
            return allocation.hosts(source, file.read(), os.environ)
    except OSError as error:
        raise UsageError(
            f"{source.variable} names {source.path}, which cannot be read: {error.strerror}. Name the "
            "hosts with --host or --hostfile, or unset the variable."
        ) from None


def _flux_resources() -> str:
    import subprocess

    try:
        command = ["flux", "resource", "R"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FLUX_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout or done.stderr


def several(config: LaunchConfig, hosts: list[HostSpec], mpi: Mpi) -> MultiHost:
    """Log in to all hosts; returns the object that supervises the job there. Raises: CmpiError."""
    from cmpi._core.protocol.launcher_agent import LOST_S
    from cmpi.launcher.hosts.multi_host import MultiHost, local_name
    from cmpi.launcher.hosts.remote_host import SSH_S

    return MultiHost(
        hosts,
        local_name(hosts),
        mpi,
        way(config),
        config.mpi_args,
        gather_s=config.ssh_timeout_s or SSH_S,
        lost_s=config.host_timeout_s or LOST_S,
        interface=config.interface,
        fabric=config.fabric,
    )


def _kubectl() -> str:
    """The kubectl by which the MPI operator reaches the pods; "": by ssh, or there is no operator."""
    from cmpi.launcher.hosts import allocation

    source = allocation.source(os.environ)
    agent = os.environ.get(allocation.RSH_AGENT, "")
    if source is None or source.scheduler != allocation.KUBERNETES or not agent.endswith(".sh"):
        return ""
    try:
        with open(agent) as file:
            return allocation.kubectl(file.read())
    except OSError as error:
        raise UsageError(
            f"{allocation.RSH_AGENT} names {agent}, which cannot be read: {error.strerror}"
        ) from None


def way(config: LaunchConfig) -> Way:
    """How commands are run on another host: by ssh, or by srun in a Slurm job."""
    from cmpi.launcher.hosts.allocation import in_slurm
    from cmpi.launcher.hosts.remote_host import by_kubectl, by_srun

    if not (config.host or config.hostfile):
        if in_slurm(os.environ):
            return by_srun
        if command := _kubectl():
            return by_kubectl(command)
    return _by_ssh(config)


def ways_to_job(config: LaunchConfig, options: list[str], job: str) -> Iterator[Way]:
    """The ways in which commands can be run on the machine of a running job, the usual one first.

    On a node of our own Slurm job that is srun; else ssh, and then srun in a job of this user there.

    Args:
        config: The options of cmpirun.
        options: Further options for ssh.
        job: The name of the job that is looked for; its Slurm job may have the same one.
    """
    from cmpi.launcher.hosts.allocation import in_slurm
    from cmpi.launcher.hosts.remote_host import by_srun

    if in_slurm(os.environ) and config.elsewhere in (host.name for host in _allocated()):
        yield by_srun
        return
    yield _by_ssh(config, options)
    if "@" not in config.elsewhere:
        from cmpi.launcher.slurm import calls

        for number in calls.running_on(config.elsewhere, job):
            yield functools.partial(by_srun, job=number)


def _by_ssh(config: LaunchConfig, options: Sequence[str] = ()) -> Way:
    from cmpi.launcher.hosts.remote_host import CONNECT_S, by_ssh

    return by_ssh([*config.ssh, *options], config.ssh_timeout_s or CONNECT_S)
