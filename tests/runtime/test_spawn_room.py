"""Spawns never exceed the limits, and the limits are seldom looked at."""

import os
import resource
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from cmpi._runtime.linux import open_files, process_count
from cmpi._runtime.root import spawn_room
from cmpi._runtime.root.spawn_room import SpawnRoom


@given(st.integers(0, 3000), st.lists(st.integers(1, 50), max_size=60))
def test_admitted_groups_fit_the_limit_and_refused_groups_do_not(limit, groups):
    used = looks = 0

    def look():
        nonlocal looks
        looks += 1
        return limit - used, limit

    room = SpawnRoom(look, 5, 32, "only {limit}, {left} left")
    for n in groups:
        why = room.take(n)
        fits = used + n * 5 + 32 <= limit
        assert why == ("" if fits else f"only {limit}, {limit - used} left"), (limit, used, n)
        used += n * 5 if fits else 0
    assert looks <= 1 + sum(used + n * 5 + 32 > limit for n in groups)


def test_processes_being_started_count_although_the_measurement_lacks_them():
    room = SpawnRoom(lambda: (20, 100), 4, 1, "only {left} left", near=50)
    assert room.take(1, coming=4) == "only 4 left" and room.take(1, coming=3) == ""


def test_the_next_measurement_counts_the_room_that_ended_processes_have_freed():
    left = iter([6, 0, 6])
    room = SpawnRoom(lambda: (next(left), 100), 5, 1, "none")
    assert [room.take(1) for _ in range(3)] == ["", "none", ""]


def test_the_first_exhausted_limit_is_named_and_unreadable_ones_are_skipped():
    def gone():
        raise FileNotFoundError

    rooms = [SpawnRoom(gone, 1, 0, "gone"), SpawnRoom(lambda: (1, 1), 1, 0, "full")]
    assert spawn_room.lack(rooms, 1) == "" and spawn_room.lack(rooms, 2) == "full"


def test_messages_name_the_limit_and_the_way_out():
    for room in (spawn_room.of_root(), *spawn_room.of_host()):
        room._look = lambda: (3, 100)
        why = room.take(1)
        assert " 100 " in why and "of which 3 are free" in why and "ulimit" in why
        assert f"{room._margin} must stay free" in why


def test_the_descriptor_limit_is_raised_and_restored_and_open_descriptors_count():
    text = """
import os, resource
from cmpi._runtime.linux import open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
print(open_files.raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))
before = open_files.room(os.getpid())[0]
os.dup(0)
print(before - open_files.room(os.getpid())[0])
open_files.restore_limit(100)
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "100 (200, 200)\n1\n(100, 200)\n"
    assert open_files.room(os.getpid())[1] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_room_for_processes_counts_the_users_threads_and_the_cgroups_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    monkeypatch.setattr(resource, "getrlimit", lambda what: (9000, 9000))
    monkeypatch.setattr(process_count.cgroup, "levels", lambda controller: [])
    left, limit = process_count.room()
    own = len(os.listdir("/proc/self/task"))
    assert limit == 9000 and left <= 9000 - own
    (tmp_path / "pids.max").write_text("50\n")
    (tmp_path / "pids.current").write_text("47\n")
    monkeypatch.setattr(process_count.cgroup, "levels", lambda controller: [str(tmp_path)])
    assert process_count.room() == (3, 50)
    (tmp_path / "pids.max").write_text("max\n")
    assert process_count.room()[1] == 9000
