"""Files of pickles are read only if they belong to this user."""

import os
import pickle
import stat
import sys

import pytest

from cmpi import _slurm_task
from cmpi._runtime.linux.own_file import open_own
from cmpi.data.execution import places, spill, spill_folder
from cmpi.processes import run


def test_a_file_of_this_user_is_read(tmp_path):
    (tmp_path / "call").write_bytes(b"data")
    with open_own(f"{tmp_path}/call") as file:
        assert file.read() == b"data"


def test_a_file_of_another_user_is_refused_and_named(tmp_path, monkeypatch):
    (tmp_path / "call").write_bytes(b"data")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match=rf"call belongs to another user \(uid {os.getuid()}\)"):
        open_own(f"{tmp_path}/call")


def test_the_owner_of_a_symbolic_links_target_is_checked(tmp_path, monkeypatch):
    os.symlink("/etc/passwd", tmp_path / "call")
    monkeypatch.setattr(os, "geteuid", lambda: os.stat("/etc/passwd").st_uid + 1)
    with pytest.raises(PermissionError):
        open_own(f"{tmp_path}/call")


def test_pickles_of_run_and_of_streams_are_read_only_if_this_user_owns_them(tmp_path, monkeypatch):
    (tmp_path / "call").write_bytes(pickle.dumps("not to be unpickled"))
    with places.at(places.Places({places.host_here(): str(tmp_path)})):
        blocks = spill.write_rows(["x" * spill.INLINE_BYTES, "y"])
    assert run._read(f"{tmp_path}/call") and len(list(spill.read(blocks))) == 1
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    for reads in (lambda: run._read(f"{tmp_path}/call"), lambda: list(spill.read(blocks))):
        with pytest.raises(PermissionError, match="belongs to another user"):
            reads()


def test_a_batch_jobs_result_is_for_its_owner_and_is_not_written_through_a_link(tmp_path, monkeypatch):
    call = tmp_path / "call-1"
    call.write_bytes(pickle.dumps((abs, [(-1,)], sys.path)))
    monkeypatch.setattr(sys, "argv", ["", str(call)])
    for name in ("PMIX_RANK", "PMI_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert _slurm_task.main() == 0
    result = tmp_path / "call-1.0"
    assert pickle.loads(result.read_bytes()) == (1,) and stat.S_IMODE(result.stat().st_mode) == 0o600
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "call-1.0.new").symlink_to("victim")
    with pytest.raises(OSError, match="symbolic links"):
        _slurm_task.main()
    assert (tmp_path / "victim").read_text() == "kept"


def test_the_folder_for_spills_is_for_its_owner_alone(tmp_path):
    folder = spill_folder.SpillFolder(str(tmp_path))
    assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o700
    folder.close()
