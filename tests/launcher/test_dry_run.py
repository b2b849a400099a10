import json

from cmpi.launcher.dry_run import as_json, as_text
from cmpi.launcher.plan import LaunchPlan, PlannedHost

HOSTS = [PlannedHost("node1", 4, 65536 * 4, 1 << 30), PlannedHost("b", 2, 65536, 1 << 30)]


def job(argv):
    return LaunchPlan(argv, HOSTS, ["node1", "node1", "node1"], ["mpiexec", "root"], [], {}, [])


def test_the_plan_names_every_host_with_its_ranks_and_its_room():
    assert as_text(job(["python", "my job.py"]), "MPICH 5.0.2") == (
        "3 ranks of python 'my job.py', with MPICH 5.0.2:\n"
        "  node1  4 slots, ranks 0-2; 4 cpus and 1 GiB for spawned processes\n"
        "  b      2 slots, no rank; 1 cpus and 1 GiB for spawned processes\n"
    )


def test_the_plan_for_programs_is_one_object():
    shown = json.loads(as_json(job(["p"]), "MPICH 5.0.2"))
    assert shown["mpiexec"] == ["mpiexec", "root"]
    assert shown["hosts"][0] == {
        "host": "node1",
        "slots": 4,
        "ranks": [0, 1, 2],
        "cpus": 4.0,
        "memory_bytes": 1 << 30,
    }
