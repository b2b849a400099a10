"""The kernel's counts of processes killed for lack of memory: of the own cgroup, where there is one."""

import pytest

from cmpi._runtime.linux import cgroup, kernel_kills

OWN = {
    "version 1": (
        "4:memory:/a/b\n0::/\n",
        "memory/a/b/memory.oom_control",
        "oom_kill_disable 0\noom_kill 3\n",
    ),
    "version 2": ("0::/a/b\n", "a/b/memory.events", "oom 9\noom_kill 3\noom_group_kill 0\n"),
}


@pytest.mark.parametrize("version", OWN)
def test_only_kills_of_the_own_cgroup_count(tmp_path, monkeypatch, version):
    where, path, text = OWN[version]
    files = {
        "/proc/self/cgroup": where,
        "/proc/vmstat": "nr_free_pages 7\noom_kill 20\n",
        f"{cgroup.MOUNT}/{path}": text,
    }
    for module in (kernel_kills, cgroup):
        monkeypatch.setattr(module, "read", lambda path: files.get(path, ""))
    assert kernel_kills.count() == 3
    del files[f"{cgroup.MOUNT}/{path}"]
    assert kernel_kills.count() == 20, "those of the machine, if there are no others"
    files.clear()
    assert kernel_kills.count() == 0
