import pytest

from cmpi.launcher.mpi.find_mpi import Mpi
from cmpi.launcher.mpi.mpiexec import command, rank_settings, settings

OPENMPI, MPICH = Mpi("openmpi", "/m/bin/mpiexec"), Mpi("mpich", "/m/bin/mpiexec")


def test_golden_command_for_open_mpi():
    assert command(OPENMPI, ["prog", "a b"], [], {}, superuser=False) == [
        "/m/bin/mpiexec", "--with-ft", "ulfm", "--map-by", ":OVERSUBSCRIBE", "--bind-to", "none",
        "-n", "2", "prog", "a b",
    ]  # fmt: skip


def test_golden_command_for_mpich():
    assert command(MPICH, ["prog"], [], {}, superuser=True) == ["/m/bin/mpiexec", "-n", "2", "prog"]


def test_root_is_allowed_with_open_mpi():
    assert "--allow-run-as-root" in command(OPENMPI, ["p"], [], {}, superuser=True)


def test_mpi_args_follow_our_flags_so_that_they_take_precedence():
    argv = command(OPENMPI, ["p"], ["--bind-to", "core"], {}, superuser=False)
    assert argv.index("core") > argv.index("none")


@pytest.mark.parametrize(
    "name, flag",
    [
        ("PRTE_MCA_rmaps_default_mapping_policy", "--map-by"),
        ("PRTE_MCA_hwloc_default_binding_policy", "--bind-to"),
    ],
)
def test_a_users_own_setting_replaces_our_flag(name, flag):
    assert flag not in command(OPENMPI, ["p"], [], {name: "x"}, superuser=False)


@pytest.mark.parametrize("mpi", [OPENMPI, MPICH])
def test_variables_that_the_user_has_set_are_left_alone(mpi):
    wanted = settings(mpi, {}, "/job", "/dev/shm/job", rdma=False)
    own = dict.fromkeys(wanted, "mine")
    assert wanted and settings(mpi, own, "/job", "/dev/shm/job", rdma=False) == {}


def test_open_mpi_keeps_its_data_where_more_than_300_processes_fit():
    assert settings(OPENMPI, {}, "/job", "/dev/shm/job", rdma=False)["PMIX_MCA_gds"] == "hash"


def test_memory_hooks_stay_where_there_is_an_rdma_card():
    assert "UCX_MEM_MMAP_HOOK_MODE" in settings(MPICH, {}, "/job", "/shm", rdma=False)
    assert "UCX_MEM_MMAP_HOOK_MODE" not in settings(MPICH, {}, "/job", "/shm", rdma=True)


def test_only_ranks_that_mpi_links_to_spawned_processes_need_ulfm():
    assert rank_settings(OPENMPI, []) == ["OMPI_MCA_mpi_ft_enable=0"]
    assert rank_settings(OPENMPI, ["--with-ft", "ulfm"]) == [], "the user's own option wins"
    assert rank_settings(MPICH, []) == []


def test_mpi_shares_memory_in_our_folder_if_dev_shm_is_small():
    wanted = settings(MPICH, {}, "/tmp/job", "/tmp/job", rdma=False)
    assert wanted["UCX_POSIX_DIR"] == "/tmp/job"
    assert settings(OPENMPI, {}, "/tmp/job", "/tmp/job", rdma=False).get("UCX_POSIX_DIR") is None
    assert "UCX_POSIX_DIR" not in settings(MPICH, {}, "/tmp/job", "/dev/shm/job", rdma=False)
