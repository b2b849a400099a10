"""MPI's launcher is asked for no more than it can bear, and seldom looked at."""

import os
import resource
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from cmpi._runtime.linux import open_files
from cmpi._runtime.root.launcher_room import MARGIN, PER_PROCESS, ROOTS_MARGIN, LauncherRoom


@given(st.integers(0, 3000), st.lists(st.integers(1, 50), max_size=60))
def test_what_is_let_through_fits_and_what_is_refused_did_not(limit, groups):
    used = looks = 0

    def look(pid):
        nonlocal looks
        if pid == os.getpid():
            return 10_000, 10_000
        looks += 1
        return limit - used, limit

    room = LauncherRoom(look)
    for n in groups:
        why = room.lacks(n)
        fits = used + n * PER_PROCESS + MARGIN <= limit
        assert fits == (why == ""), (limit, used, n)
        if fits:
            used += n * PER_PROCESS
        else:
            assert f"may have {limit} files open" in why
    assert looks <= 1 + sum(used + n * PER_PROCESS + MARGIN > limit for n in groups)


def test_what_has_ended_gives_its_descriptors_back_to_the_next_look():
    left = iter([(PER_PROCESS + MARGIN, 100), (0, 100), (PER_PROCESS + MARGIN, 100)])
    room = LauncherRoom(lambda pid: (100, 100) if pid == os.getpid() else next(left))
    assert [bool(room.lacks(1)) for _ in range(3)] == [False, True, False]


def test_the_root_needs_a_descriptor_for_each_monitor():
    room = LauncherRoom(lambda pid: (ROOTS_MARGIN + 2, 100) if pid == os.getpid() else (10_000, 10_000))
    assert room.lacks(2) == ""
    assert (
        LauncherRoom(room._look)
        .lacks(3)
        .startswith("cmpi's root may have 100 files open, 10 more than now")
    )


def test_a_launcher_that_cannot_be_looked_at_is_not_blamed():
    def gone(pid):
        raise FileNotFoundError

    assert LauncherRoom(gone).lacks(1) == ""


def test_the_limit_is_raised_and_put_back_and_room_counts_what_is_open():
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
