from cmpi._core.scheduling.capacity import Facts, usable

CORE, GIB = 65536, 1 << 30


def test_capacity_starts_from_the_hosts_affinity_and_memory():
    assert usable(Facts(4, GIB), {}) == (4 * CORE, GIB)


def test_a_cgroup_quota_of_any_level_limits_the_cpus():
    facts = Facts(8, GIB, cpu_max="max 100000\n250000 100000\n400000 100000")
    assert usable(facts, {})[0] == int(2.5 * CORE)


def test_a_cgroup_limit_of_any_level_limits_the_memory():
    assert usable(Facts(8, 8 * GIB, memory_max="max\n1073741824\n"), {})[1] == GIB


def test_cgroup_version_1_gives_the_same_limits():
    facts = Facts(
        8, 8 * GIB, cpu_max="-1 100000\n250000 100000", memory_max="9223372036854771712\n1073741824"
    )
    assert usable(facts, {}) == (int(2.5 * CORE), GIB)


def test_slurms_grants_limit_cpus_and_memory():
    grant = {"SLURM_CPUS_ON_NODE": "2", "SLURM_MEM_PER_CPU": "500"}
    assert usable(Facts(64, 999 * GIB), grant) == (2 * CORE, 1000 << 20)
    assert usable(Facts(64, 999 * GIB), {"SLURM_MEM_PER_NODE": "1024"})[1] == GIB


def test_garbage_in_files_or_environment_limits_nothing():
    facts = Facts(4, GIB, cpu_max="??\n1 0\n", memory_max="lots\n")
    assert usable(facts, {"SLURM_CPUS_ON_NODE": "many", "SLURM_MEM_PER_NODE": "0"}) == (4 * CORE, GIB)
