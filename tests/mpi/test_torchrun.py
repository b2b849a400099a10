"""The environment variables that torchrun sets, and those that JAX looks for."""

import importlib.util
import json

import pytest

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
SHOW = f"""
import json, os
NAMES = {NAMES!r}
def show(): return [os.environ.get(name) for name in NAMES]
"""


def test_each_world_has_its_own_torchrun_variables_and_a_single_process_has_none(job, jobs):
    text = (
        SHOW
        + """
import cmpi
from mpi4py import MPI
def tell(parent): cmpi.Sender(parent).send((show(), sorted(k for k in os.environ if "JAX" in k)))
def receive(pids): return [cmpi.Receiver(pid).recv() for pid in pids]
print(json.dumps(["rank", show()]))
if MPI.COMM_WORLD.rank == 1:
    print(json.dumps(["single", receive([cmpi.spawn(tell)])[0]]))
    for told, jax in receive(cmpi.spawn_group(2, tell)): print(json.dumps(["group", told]))
    os.environ["RANK"] = "of its own"
    print(json.dumps(["own", receive([cmpi.spawn(tell)])[0]]))
"""
    )
    result = job(text, options=("-n", "3"))
    assert result.code == 0 and not result.err, result
    told = {"rank": [], "group": [], "single": [], "own": []}
    for line in result.out.splitlines():
        kind, what = json.loads(line)
        told[kind].append(what)
    for kind, n in (("rank", 3), ("group", 2)):
        ports = {it[-1] for it in told[kind]}
        assert len(ports) == 1 and ports.pop().isdigit(), told
        numbers = [[str(rank), str(rank), str(n), str(n), "0", "127.0.0.1"] for rank in range(n)]
        assert sorted(it[:-1] for it in told[kind]) == numbers, told
    assert told["rank"][0][-1] != told["group"][0][-1], "another port for each world"
    assert told["single"] == [[[None] * len(NAMES), []]], told
    assert told["own"] == [[["of its own"] + [None] * (len(NAMES) - 1), []]], told


def test_torchrun_variables_set_by_the_user_take_precedence(job):
    result = job(SHOW + "print(*show()[-2:])", env={"MASTER_PORT": "29500"})
    assert (result.code, result.out) == (0, "127.0.0.1 29500\n"), result


def test_the_rendezvous_port_is_free(job):
    text = "import os, socket; socket.create_server(('', int(os.environ['MASTER_PORT']))).close()"
    assert job(text).code == 0


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
def test_an_unchanged_torch_program_finds_its_peers(job):
    text = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
x = torch.ones(1) * (dist.get_rank() + 1)
dist.all_reduce(x)
print(int(x), dist.get_world_size())
dist.destroy_process_group()
"""
    result = job(text, options=("-n", "2"), timeout=60)
    assert (result.code, result.out) == (0, "3 2\n" * 2), result


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax")
def test_an_unchanged_jax_program_finds_its_coordinator(job):
    text = """
import jax
jax.config.update("jax_platforms", "cpu")
jax.distributed.initialize()
print(jax.process_index(), jax.process_count())
"""
    result = job(text, options=("-n", "2"), timeout=60)
    assert result.code == 0 and sorted(result.out.splitlines()) == ["0 2", "1 2"], result
