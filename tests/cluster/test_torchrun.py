"""torchrun's environment and Ctrl-C, on several hosts and in batch jobs over several nodes of Slurm."""

import json
import signal

import pytest

from tests.cluster.programs import came_up, end

TELL = """
import json, os, socket
from mpi4py import MPI
world = MPI.COMM_WORLD
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK")
where = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
if world.rank == 0: server = socket.create_server(("", where[1]))
world.barrier()
if world.rank: socket.create_connection(where, 10).sendall(b"%d" % world.rank)
else: came = sorted(server.accept()[0].makefile().read() for _ in range(world.size - 1))
told = world.gather([os.uname().nodename, [int(os.environ[name]) for name in names]])
if world.rank == 0: print(json.dumps([told, came]))
"""
HOSTS = ("--host", "h1:2,h2:2", "--output", "plain", "-n", "4")
SLURM = ("--slurm", "--output", "plain", "--time", "2:00", "-N", "2", "-n", "4")


def check(result):
    assert result.code == 0, result
    told, came = json.loads(result.out)
    hosts = [host for host, _ in told]
    names = sorted(set(hosts))
    assert len(names) == 2, told
    for rank, (host, numbers) in enumerate(told):
        local = hosts[:rank].count(host)
        assert numbers == [rank, local, 4, hosts.count(host), names.index(host)], told
    assert came == ["1", "2", "3"], "each has reached rank 0 at MASTER_ADDR and MASTER_PORT"


def test_ranks_on_several_hosts_have_torchruns_environment_and_reach_rank_0(on_hosts):
    check(on_hosts.job(TELL, options=HOSTS))


def test_ranks_on_several_slurm_nodes_have_torchruns_environment(slurm_on_hosts, on_hosts):
    check(on_hosts.job(TELL, options=SLURM, timeout=90))


CLEANS_UP = """
import os, signal, sys, time
from mpi4py import MPI
rank = MPI.COMM_WORLD.rank
def stop(*_): sys.exit(f"told to end {rank}")
signal.signal(signal.SIGTERM, stop)
try:
    MPI.COMM_WORLD.barrier()
    if rank == 0: print("up", flush=True)
    time.sleep(100)
except KeyboardInterrupt:
    print("interrupted", rank, os.uname().nodename, flush=True)
finally:
    print("cleaned up", rank, flush=True)
"""
CLEANED = [f"cleaned up {rank}" for rank in range(4)]


def test_ctrl_c_is_a_keyboard_interrupt_on_every_host(on_hosts, jobs):
    job = on_hosts.start(*HOSTS, "python", jobs.script(CLEANS_UP))
    came_up(job)
    out, _ = end(job, jobs, signal.SIGINT)
    interrupted = [f"interrupted {rank} h{rank // 2 + 1}" for rank in range(4)]
    assert sorted(out.decode().splitlines()) == sorted(CLEANED + interrupted), out
    assert job.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_cmpirun_in_a_batch_job_reaches_the_ranks_on_every_node(
    slurm_on_hosts, on_hosts, jobs, number
):
    job = on_hosts.start(*SLURM, "python", jobs.script(CLEANS_UP))
    came_up(job)
    lines = [(process, process.cmdline()) for process in jobs.processes()]
    (there,) = [it for it, line in lines if "cmpirun" in " ".join(line[:2]) and "--slurm" not in line]
    there.send_signal(number)
    out, err = job.communicate(timeout=60)
    said = out.decode().splitlines()
    assert sorted(line for line in said if line.startswith("cleaned")) == CLEANED, (out, err)
    assert sum(line.startswith("interrupted") for line in said) == (4 if number == signal.SIGINT else 0)
    assert job.returncode == 128 + number, err
