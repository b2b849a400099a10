"""A real Slurm on this one machine: munged, slurmctld and slurmds in a folder of the test's own; and
several hosts on it (see hosts.py)."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from tests.cluster import hosts as hosts_module
from tests.mpi import conftest

jobs = conftest.jobs

NODES = 2
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
# Slurm limits the memory of jobs by cgroups; here by those of version 1, if this machine has them.
LIMITS_MEMORY = os.access("/sys/fs/cgroup/memory/memory.limit_in_bytes", os.W_OK)
CGROUP_CONF = """\
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
ConstrainSwapSpace=yes
"""
CONF = """\
ClusterName=cmpitest
SlurmctldHost={host}({address})
SlurmctldPort={ctld_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin={task_plugin}
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SchedulerParameters=batch_sched_delay=0,sched_min_interval=10000,sched_interval=1
KillWait=30
InactiveLimit=0
MinJobAge=300
FirstJobId={first_job}
SlurmdTimeout=10
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=500 PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP DefMemPerCPU=500 PriorityTier=2
"""


def until(ready, limit_s=30):
    """Wait until `ready()` is true."""
    end_s = time.monotonic() + limit_s * conftest.SLOWNESS
    while not ready():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def without_waiting(err):
    """What a job wrote to stderr, without cmpirun's word on hosts that need long to answer: any may need
    long on a busy machine."""
    return "".join(
        line for line in err.splitlines(keepends=True) if not line.startswith("cmpirun: waiting for ")
    )


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Slurm:
    """The running daemons; `environment` directs commands to them."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons = []
        # A job's number names its cgroups, which Slurm may leave behind. A later job that found the limits
        # of an earlier one there could not set its own, and did not start.
        self._first_job = 1000 * random.randrange(1, 60_000)
        self.nodes = [f"n{i}" for i in range(1, NODES + 1)]
        host = socket.gethostname().split(".")[0]
        lines = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs=4 "
            "RealMemory=4000"
            for node in self.nodes
        ]
        self._configure(host, "127.0.0.1", lines)

    def _configure(self, host, address, nodes):
        folder = self.folder
        (folder / "state").mkdir()
        text = CONF.format(
            host=host,
            address=address,
            folder=folder,
            ctld_port=free_port(),
            nodes="\n".join(nodes),
            first_job=self._first_job,
            task_plugin="task/cgroup" if LIMITS_MEMORY else "task/none",
        )
        (folder / "cgroup.conf").write_text(CGROUP_CONF if LIMITS_MEMORY else "")
        (folder / "slurm.conf").write_text(text)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)

    def start(self):
        at = self.folder
        self._daemon(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={at}/munge.key",
            f"--socket={at}/munge.socket",
            f"--pid-file={at}/munge.pid",
            f"--log-file={at}/munge.log",
            f"--seed-file={at}/munge.seed",
        )
        self._until(lambda: (at / "munge.socket").exists(), "munged")
        self._daemon("slurmctld", "-D")
        for node in self.nodes:
            self._daemon("slurmd", "-D", "-N", node)
        self._until(lambda: self.call("sinfo", "-h", "-o", "%T").strip() == "idle", "nodes")

    def restart_controller(self, pause_s):
        """Stop slurmctld, and start it again after a pause."""
        old = self._daemons.pop(1)
        old.send_signal(signal.SIGTERM)
        old.wait(20)
        time.sleep(pause_s)
        self._daemon("slurmctld", "-D")
        self._daemons.insert(1, self._daemons.pop())
        self._until(lambda: self.nodes[0] in self.call("sinfo", "-h", "-N"), "slurmctld")

    def _where(self, name, arguments):
        """The words to put before a daemon's command, or before another one (name "")."""
        return []

    def _daemon(self, name, *arguments):
        path = shutil.which(name) or f"/usr/sbin/{name}"
        with open(self.folder / f"{name}.out", "ab") as out:
            self._daemons.append(
                subprocess.Popen(
                    [*self._where(name, arguments), path, *arguments],
                    env={**os.environ, **self.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            )

    def _until(self, ready, what, limit_s=40):
        end_s = time.monotonic() + limit_s
        while not ready():
            assert time.monotonic() < end_s, f"{what} did not come up: {self.call('sinfo', check=False)}"
            time.sleep(0.1)

    def start_nodes_that_ended(self):
        """Start the daemons of nodes again that went down with a host that a test has powered off."""
        for daemon in [each for each in self._daemons if each.poll() is not None]:
            self._daemons.remove(daemon)
            self.start_node(daemon.args[-1])

    def start_node(self, node):
        """Start the daemon of a node that was not running."""
        self._daemon("slurmd", "-D", "-N", node)
        self._until(lambda: "idle" in self.call("sinfo", "-h", "-n", node, "-o", "%T"), node)

    @contextlib.contextmanager
    def drained(self, *nodes):
        """A context in which these nodes accept no new jobs."""
        names = ",".join(nodes)
        self.call("scontrol", "update", f"nodename={names}", "state=drain", "reason=test", check=True)
        try:
            yield
        finally:
            self.call("scontrol", "update", f"nodename={names}", "state=resume", check=True)

    def call(self, *command, check=False):
        done = subprocess.run(
            [*self._where("", ()), *command],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=check,
        )
        return done.stdout

    def stop(self):
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._remove_cgroups()

    def _remove_cgroups(self):
        for top in pathlib.Path("/sys/fs/cgroup/memory").glob("slurm_*/uid_*/job_*"):
            if 0 <= int(top.name.removeprefix("job_")) - self._first_job < 1000:
                for folder, _, _ in os.walk(top, topdown=False):
                    with contextlib.suppress(OSError):  # a process is still in it
                        os.rmdir(folder)


def need_slurm():
    missing = [name for name in NEEDED if not (shutil.which(name) or os.path.exists(f"/usr/sbin/{name}"))]
    if missing:
        pytest.skip(f"NOT TESTED: no {', '.join(missing)} here (apt-get install slurm-wlm munge)")
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: Slurm's daemons need root")


@contextlib.contextmanager
def started(slurm):
    try:
        slurm.start()
        yield
    finally:
        slurm.call("scancel", "--user=root")
        end_s = time.monotonic() + 10  # otherwise its steps would wait for a controller that has ended
        while slurm.call("squeue", "-h") and time.monotonic() < end_s:
            time.sleep(0.2)
        slurm.stop()
        shutil.rmtree(slurm.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def slurm_daemons():
    need_slurm()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    slurm = Slurm(folder)
    with started(slurm):
        yield slurm


@pytest.fixture
def slurm(slurm_daemons, jobs):
    """The daemons, with `jobs` directed to them."""
    jobs.environment |= slurm_daemons.environment
    yield slurm_daemons
    slurm_daemons.call("scancel", "--user=root")


@pytest.fixture(scope="session")
def all_hosts(tmp_path_factory):
    """Three hosts, for the whole session."""
    missing = hosts_module.missing()
    if missing:
        pytest.skip(f"NOT TESTED: {missing}")
    shared = [sys.prefix, pathlib.Path(__file__).parents[2], tmp_path_factory.getbasetemp()]
    hosts = hosts_module.Hosts(3, shared)
    try:
        hosts.start()
        yield hosts
    finally:
        hosts.stop()


class OnHosts:
    """Runs cmpirun on h1, and does other things to the hosts for a test."""

    def __init__(self, hosts, jobs):
        self.hosts, self._jobs, self._own = hosts, jobs, []
        self._watchdogs = []

    def command(self, *arguments, cwd=None):
        return self.hosts.command("h1", "cmpirun", *arguments, cwd=cwd or self._jobs.folder)

    def run(self, *arguments, timeout=40, cwd=None, **kwargs):
        return self._jobs.run(*self.command(*arguments, cwd=cwd), timeout=timeout, **kwargs)

    def start(self, *arguments, cwd=None, **kwargs):
        """Start a job in the background. It is killed if it does not end in time, so that no read of its
        output hangs."""
        job = self._jobs.start(*self.command(*arguments, cwd=cwd), **kwargs)
        watchdog = threading.Timer(90 * conftest.SLOWNESS, self._kill_all)
        watchdog.daemon = True
        watchdog.start()
        self._watchdogs.append(watchdog)
        return job

    def _kill_all(self):
        for process in self._jobs.processes():
            process.kill()

    def only_on_h1(self, folder, **files):
        """Files that no other host has; removed at the end of the test."""
        self._own.append(folder)
        for name, text in files.items():
            path = f"{folder}/{name.replace('__', '.')}"
            write = 'mkdir -p "$(dirname "$1")" && printf %s "$2" > "$1"'
            self.hosts.call("h1", "sh", "-c", write, "sh", path, text)

    def remove_own(self):
        for watchdog in self._watchdogs:
            watchdog.cancel()
        for folder in self._own:
            self.hosts.call("h1", "rm", "-rf", folder)

    def job(self, text, *arguments, options=(), **kwargs):
        return self.run(*options, "python", self._jobs.script(text), *arguments, **kwargs)

    def leftovers(self):
        found = []
        for name in self.hosts.names:
            listing = self.hosts.call(
                name, "sh", "-c", "ls -d ${TMPDIR:-/tmp}/cmpi-* /dev/shm/* 2>/dev/null; true"
            )
            found += [f"{name}: {line}" for line in listing.splitlines()]
            processes = self.hosts.call(name, "ps", "-eo", "args")
            found += [
                f"{name}: {line}"
                for line in processes.splitlines()
                if "cmpi.launcher.hosts.agent_main" in line
            ]
        return found


@pytest.fixture
def on_hosts(all_hosts, jobs):
    """Runs jobs on the hosts. Afterwards each host is restored, and nothing may be left there."""
    on_hosts = OnHosts(all_hosts, jobs)
    yield on_hosts
    on_hosts.remove_own()
    for name in all_hosts.names:
        all_hosts.restore(name)
    end = time.monotonic() + 12 * conftest.SLOWNESS  # a host that was cut off gives up its job by itself
    while (left := OnHosts(all_hosts, jobs).leftovers()) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left, "the job left something on a host"


class SlurmOnHosts(Slurm):
    """The controller on h1, and a node on every host."""

    def __init__(self, folder, hosts):
        self._hosts = hosts
        super().__init__(folder)

    def _configure(self, host, address, nodes):
        hosts = self._hosts
        self.nodes = hosts.names
        lines = [
            f"NodeName={name} NodeHostname={name} NodeAddr={hosts.address(name)} CPUs=4 RealMemory=4000"
            for name in hosts.names
        ]
        super()._configure("h1", hosts.address("h1"), lines)

    def _where(self, name, arguments):
        return self._hosts.command(arguments[-1] if name == "slurmd" else "h1")


@pytest.fixture(scope="session")
def slurm_on_hosts_daemons(all_hosts, tmp_path_factory):
    need_slurm()
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    slurm = SlurmOnHosts(folder, all_hosts)
    with started(slurm):
        yield slurm


@pytest.fixture
def slurm_on_hosts(slurm_on_hosts_daemons, on_hosts, jobs):
    """A cluster of three nodes; `on_hosts` calls cmpirun on the first."""
    jobs.environment |= slurm_on_hosts_daemons.environment
    slurm_on_hosts_daemons.start_nodes_that_ended()
    yield slurm_on_hosts_daemons
    slurm_on_hosts_daemons.call("scancel", "--user=root")
