"""`cmpirun --doctor`: checks this machine and runs a real job; says how to fix what does not work."""

from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import threading

from cmpi._core.fabric import choice
from cmpi._core.scheduling.capacity import usable
from cmpi._runtime import programs
from cmpi._runtime.linux import cgroup, host_facts, shared_memory_room, trusted_folder
from cmpi.errors import CmpiError, LaunchError
from cmpi.launcher.doctor import findings
from cmpi.launcher.doctor.findings import FAULT, OK, WARNING, Finding
from cmpi.launcher.mpi import find_mpi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cmpi.launcher.config import LaunchConfig
    from cmpi.launcher.hosts.hostfile import HostSpec
    from cmpi.launcher.hosts.remote_host import Way

JOB_S = 60.0  # it takes 2 s, and much longer on a machine with other work
BATCH_S = 60.0  # includes the time that a tiny job waits in the queue


def run(config: LaunchConfig, hosts: list[HostSpec], way: Way | None) -> int:
    """Check everything, print the findings, and return the exit code: 0 all well, 1 warnings, 2 faults.

    Blocks: some seconds; with a batch job up to `BATCH_S`.
    """
    found = _machine()
    try:
        mpi: find_mpi.Mpi | None = find_mpi.find(config.mpiexec)
        assert mpi is not None
        kind, version = find_mpi.check_version(mpi.mpiexec)
        found.append(Finding("MPI", OK, f"{find_mpi.NAMES[kind]} {version} ({mpi.mpiexec})"))
    except LaunchError as error:
        first, *rest = str(error).splitlines()
        found.append(Finding("MPI", FAULT, first, rest[0].strip() if rest else ""))
        mpi = None
    lack = "" if mpi is None else shared_memory_room.lack(mpi.kind)
    temporary = os.environ.get("TMPDIR", "/tmp")
    found.append(findings.shared_memory(shared_memory_room.free_bytes(), temporary, lack))
    if mpi is not None:
        parts: list[list[Finding]] = [[], [], []]
        checks = [lambda: _job(config, mpi), lambda: _hosts(config, hosts, way, mpi)]
        if config.batch is not None:
            checks.append(lambda: _slurm(config))
        threads = []
        for i, check in enumerate(checks):
            thread = threading.Thread(target=lambda i=i, check=check: parts[i].extend(_checked(check)))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        found += [finding for part in parts for finding in part]
    show = findings.as_json if config.json or config.output == "json" else findings.as_text
    sys.stdout.write(show(found))
    return findings.CODES[findings.worst(found)]


def _checked(check: Callable[[], list[Finding]]) -> list[Finding]:
    """The findings of a check; if the check itself fails, that is a finding too, not a missing row."""
    try:
        return check()
    except Exception as error:
        return [Finding("doctor", FAULT, f"a check failed: {type(error).__name__}: {error}")]


def _machine() -> list[Finding]:
    facts = host_facts.facts()
    cpu_units, memory_bytes = usable(facts, os.environ)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    folder = os.environ.get("TMPDIR", "/tmp")
    return [
        findings.cmpi_itself(importlib.metadata.version("cmpi"), host_facts.compiled()),
        Finding("Python", OK, f"{sys.version.split()[0]} ({sys.executable})"),
        findings.cores(facts.affinity_cpus, os.cpu_count() or 1, cpu_units),
        findings.memory(total, memory_bytes),
        findings.limits(cgroup.can_be_made()),
        findings.descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        findings.job_folder(folder, os.access(folder, os.W_OK), _untrusted(folder)),
    ]


def _untrusted(folder: str) -> str:
    try:
        return trusted_folder.fault(folder)
    except OSError:
        return ""  # the folder does not exist; another row reports that


def _probe(mpiexec: str, options: list[str], limit_s: float) -> tuple[dict[str, object] | None, str]:
    """Run a job of `cmpi.launcher.doctor.probe_job`; returns what it printed last, and its stderr."""
    command = [sys.executable, *programs.isolated(programs.CMPIRUN), "--output", "plain", *options]
    if mpiexec:
        command += ["--mpiexec", mpiexec]
    try:
        done = subprocess.run(
            [*command, sys.executable, *programs.isolated(programs.DOCTORS_JOB)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"it did not end within {limit_s:.0f} s"
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("{"):
            answer: dict[str, object] = json.loads(line)
            return answer, done.stderr
    return None, done.stderr or f"nothing; exit code {done.returncode}"


def _job(config: LaunchConfig, mpi: find_mpi.Mpi) -> list[Finding]:
    answer, said = _probe(config.mpiexec, ["-n", "2"], JOB_S)
    return findings.real_job(answer, "a real job", said)


def _hosts(
    config: LaunchConfig, hosts: list[HostSpec], way: Way | None, mpi: find_mpi.Mpi
) -> list[Finding]:
    if not hosts or way is None:
        return []
    from cmpi.launcher.hosts.agent_main import facts
    from cmpi.launcher.hosts.agents import Agents
    from cmpi.launcher.hosts.multi_host import local_name

    local = local_name(hosts)
    agents = Agents([spec for spec in hosts if spec.name != local], way, sys.executable)
    here = facts(mpi.mpiexec)
    try:
        faults = agents.faults(here, mpi.kind)
    except CmpiError as error:
        return [Finding("hosts", FAULT, str(error))]
    finally:
        agents.finish()
    rows = [findings.host(name, fault, agents.hosts[name].facts) for name, fault in faults.items()]
    if not any(faults.values()):
        found = {name: host.facts for name, host in agents.hosts.items()} | {local: here}
        seen = {spec.name: it.fabric for spec in hosts if (it := found[spec.name]) is not None}
        chosen = choice.hosts(config.fabric, seen)
        rows += [
            findings.fabric(name, fabric, config.fabric, carried=name in chosen)
            for name, fabric in seen.items()
        ]
        options = ["-n", str(len(hosts)), "--map-by", "node", "--ssh", shlex.join(config.ssh)]
        options += ["--host", config.host] if config.host else []
        options += ["--fabric", config.fabric]
        options += ["--hostfile", config.hostfile] if config.hostfile and not config.host else []
        answer, said = _probe(config.mpiexec, options, JOB_S)
        rows.append(findings.real_job(answer, "a job on all hosts", said, options)[0])
    return rows


def _slurm(config: LaunchConfig) -> list[Finding]:
    if shutil.which("sbatch") is None:
        return [Finding("Slurm", FAULT, "no sbatch on PATH", "log in to the cluster, or load its module")]
    version = _ask("sinfo", "--version") or "of an unknown version"
    partitions = _ask("sinfo", "--noheader", "--format=%P %a, %D nodes %T, limit %l")
    if not partitions:
        return [Finding("Slurm", FAULT, f"{version}; its controller does not answer", "scontrol ping")]
    rows = [Finding("Slurm", OK, version)]
    for line in partitions.splitlines():
        name, _, what = line.partition(" ")
        state = WARNING if " down" in f" {what}" or "drain" in what else OK
        fix = "sinfo --list-reasons" if state == WARNING else ""
        rows.append(Finding(f"  partition {name}", state, what, fix))
    if config.submit:
        options = ["--slurm", "-n", "2", "--time", "2:00", *_given(config)]
        answer, said = _probe(config.mpiexec, options, BATCH_S)
        rows += findings.real_job(answer, "  a batch job", said)
    return rows


def _given(config: LaunchConfig) -> list[str]:
    assert config.batch is not None
    given = {"--partition": config.batch.partition, "--account": config.batch.account}
    return [f"{name}={value}" for name, value in given.items() if value]


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
