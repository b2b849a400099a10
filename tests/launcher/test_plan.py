"""The plan that --dry-run shows and that a run carries out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._runtime import environment as names
from cmpi.errors import UsageError
from cmpi.launcher.config import LaunchConfig
from cmpi.launcher.mpi.find_mpi import Mpi
from cmpi.launcher.plan import Here, PlannedHost, plan

MPI = Mpi("mpich", "/m/mpiexec")


def here(certain_mpi=True, **environment):
    stub = ["/py", "/stub.py", "0"]
    return Here(
        environment, "/py", "/main.py", stub, certain_mpi, ["/lib", "/x"], False, False, 99, "/job", "/shm"
    )


HERE = here(A="1", UCX_TLS="mine")


def job(hosts=(), n=2, by="slot", **options):
    rooms = [PlannedHost(name, slots, 65536, 1, most) for name, slots, most in hosts]
    return plan(LaunchConfig(["prog"], n=n, map_by=by, **options), MPI, rooms, HERE)


def test_the_root_and_the_ranks_here_have_an_mpiexec_each():
    it = job(n=3, mpi_args=["-v"])
    assert it.mpiexec == ["/m/mpiexec", "-v", "-n", "2", "/py", "-I", "-S", "/main.py"]
    assert it.world == ["/m/mpiexec", "-v", "-n", "3", "/py", "/stub.py", "0"]
    assert it.where == [""] * 3 and it.argv == ["prog"]


def test_the_root_asks_for_the_mpiexec_of_ranks_on_named_hosts():
    assert job([("a", 2, 0)]).world == [] and job(n=0).world == []


def test_the_root_checks_the_mpi_library_only_if_it_may_be_anothers():
    assert names.CHECK_MPI not in job().environment
    assert plan(LaunchConfig(["prog"]), MPI, [], here(False)).environment[names.CHECK_MPI] == "1"


def test_the_users_environment_is_kept_and_ours_is_added():
    environment = job().environment
    assert environment["A"] == "1" and environment["UCX_TLS"] == "mine"
    assert environment[names.JOB] == "/job" and environment[names.PATH] == "/lib:/x"


def test_the_environment_cannot_choose_the_hosts_of_processes():
    place = here(HYDRA_HOST_FILE="/h", HYDRA_RMK="pbs")
    environment = plan(LaunchConfig(["prog"]), MPI, [], place).environment
    assert "HYDRA_HOST_FILE" not in environment and environment["HYDRA_RMK"] == "user"
    openmpi = plan(LaunchConfig(["prog"]), Mpi("openmpi", "/m/mpiexec"), [], place).environment
    assert openmpi["PRTE_MCA_prte_default_hostfile"] == "none" and "slurm" in openmpi["PRTE_MCA_ras"]


def test_only_in_a_slurm_job_cmpis_processes_leave_sigterm_to_cmpirun():
    assert names.BATCH not in job().environment
    environment = plan(LaunchConfig(["prog"]), MPI, [], here(SLURM_JOB_ID="7")).environment
    assert environment[names.BATCH] == "1"


@given(
    st.integers(1, 12),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.sampled_from(["slot", "node"]),
)
def test_every_rank_is_on_one_host(n, slots, by):
    it = job([(str(i), count, 0) for i, count in enumerate(slots)], n, by)
    assert sorted(rank for host in it.hosts for rank in it.ranks_on(host.name)) == list(range(n))


def test_more_ranks_than_the_hosts_take_are_refused():
    with pytest.raises(UsageError, match="the hosts accept at most 1"):
        job([("a", 1, 1)])
