"""Folders in which another user could replace a job's files are detected, wherever on the path they are."""

import os
import stat
import subprocess
import sys

import pytest

from cmpi._runtime.linux import shared_memory_room, trusted_folder

ME, OTHER = 1000, 1001


class Tree:
    """The result of `lstat` by path: owner and mode; all other paths belong to root."""

    def __init__(self, **given):
        self._given = {"/" + name.replace("__", "/"): what for name, what in given.items()}

    def __call__(self, path):
        uid, mode = self._given.get(path, (0, 0o755))
        return os.stat_result((mode | stat.S_IFDIR, 0, 0, 1, uid, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (Tree(), ""),
        (Tree(a=(ME, 0o700), a__b=(ME, 0o700)), ""),
        (Tree(a=(0, 0o1777), a__b=(ME, 0o755)), ""),
        (Tree(a__b=(0, 0o1777)), ""),
        (Tree(a=(0, 0o775)), ""),
        (Tree(a=(0, 0o777)), "/a is writable by everybody"),
        (Tree(a__b=(ME, 0o777)), "/a/b is writable by everybody"),
        (Tree(a=(OTHER, 0o755)), "/a belongs to another user"),
        (Tree(a__b=(OTHER, 0o1777)), "/a/b belongs to another user"),
    ],
)
def test_every_folder_of_the_path_is_checked(tree, words, monkeypatch):
    monkeypatch.setattr(trusted_folder, "_unknown_users", set)
    found = trusted_folder.fault("/a/b", tree, ME)
    assert words in found and bool(found) == bool(words)


def test_symbolic_links_are_followed_and_their_targets_checked(tmp_path):
    base = trusted_folder.fault(str(tmp_path))
    if base:
        pytest.skip(f"NOT TESTED: {base}")
    bad, inside, good = tmp_path / "bad", tmp_path / "bad" / "inside", tmp_path / "good"
    inside.mkdir(parents=True)
    good.mkdir()
    bad.chmod(0o777)
    (tmp_path / "to_good").symlink_to("good")
    (good / "to_bad").symlink_to("../bad/inside")
    (tmp_path / "round").symlink_to("round")
    assert trusted_folder.fault(str(tmp_path / "to_good")) == ""
    assert str(bad) in trusted_folder.fault(str(tmp_path / "to_good" / "to_bad"))
    assert "too many links" in trusted_folder.fault(str(tmp_path / "round"))
    with pytest.raises(FileNotFoundError):
        trusted_folder.fault(str(tmp_path / "none"))
    if os.geteuid() == 0:
        os.lchown(tmp_path / "to_good", OTHER, OTHER)
        assert "a link that belongs to another user" in trusted_folder.fault(str(tmp_path / "to_good"))


def test_a_folder_that_a_group_of_several_can_write_to_is_not_trusted(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: this needs to give a folder to another group, so root")
    os.chown(tmp_path, 0, 12345)
    tmp_path.chmod(0o770)
    assert "by its group" in trusted_folder.fault(str(tmp_path))
    tmp_path.chmod(0o1770)
    assert trusted_folder.fault(str(tmp_path)) == ""


def test_shared_memory_is_never_put_where_others_could_replace_its_folder(tmp_path, monkeypatch):
    base = trusted_folder.fault(str(tmp_path))
    if base:
        pytest.skip(f"NOT TESTED: {base}")
    monkeypatch.setattr(shared_memory_room, "DEV_SHM", str(tmp_path))
    monkeypatch.setattr(shared_memory_room, "ENOUGH_BYTES", 1)
    for mode, parent in ((0o1777, str(tmp_path)), (0o777, "/own")):
        tmp_path.chmod(mode)
        assert shared_memory_room.folder("cmpi-job", "/own") == f"{parent}/cmpi-job"


def test_in_a_user_namespace_the_owner_of_all_files_outside_is_trusted():
    text = "from cmpi._runtime.linux import trusted_folder; print(trusted_folder._unknown_users())"
    inside = ["unshare", "--user", "--map-root-user", sys.executable, "-c", text]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(inside, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"NOT TESTED: no user namespaces here: {done.stderr}")
    with open("/proc/sys/kernel/overflowuid") as file:
        assert done.stdout == f"{{{int(file.read())}}}\n"
