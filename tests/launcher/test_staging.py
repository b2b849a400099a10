import io
import os
import tarfile

import pytest

from cmpi.errors import UsageError
from cmpi.launcher.hosts.staging import Shipment, Unpacker, pack, pieces


def unpack(scratch, there, *data):
    unpacker = Unpacker(str(scratch))
    for piece in data:
        unpacker.take(piece)
    return unpacker.finish(str(there))


def test_packing_and_unpacking_keep_the_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "job.py").write_text("print()")
    archive, _ = pack(str(tmp_path / "a"), asked=True)
    with archive:
        data = [frame.data for frame in pieces(archive, Shipment("a", "b"))]
    assert unpack(tmp_path, tmp_path / "b", *data) == ""
    assert (tmp_path / "b" / "job.py").read_text() == "print()"


def cut(data):
    return data[: len(data) // 2]


@pytest.mark.parametrize("spoil", [cut, lambda data: b"x" * 1000, lambda data: b""])
def test_a_broken_archive_is_reported_without_an_exception(tmp_path, spoil):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        item = tarfile.TarInfo("big")
        item.size = 50_000
        tar.addfile(item, io.BytesIO(os.urandom(50_000)))
    fault = unpack(tmp_path, tmp_path / "b", spoil(file.getvalue()))
    assert fault.startswith(f"cannot unpack the program to {tmp_path}/b: "), fault


def test_lack_of_space_for_the_archive_is_reported(tmp_path):
    assert "No such file" in unpack(tmp_path / "missing", tmp_path, b"some", b"more")


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("x")

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied", arguments[0])

    monkeypatch.setattr(tarfile, "bltn_open", refuse)
    with pytest.raises(UsageError, match=r"cannot send .*Permission denied.*secret"):
        pack(str(tmp_path), asked=True)
