import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._runtime import output_log
from cmpi._runtime.output_log import FILE_BYTES, FILES, PIECE_BYTES, LogReader, OutputLog

OUTPUT = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=40)), max_size=30)


def together(pieces):
    """All output by descriptor."""
    return {fd: b"".join(data for at, data in pieces if at == fd) for fd in (1, 2)}


def size(folder):
    return sum(entry.stat().st_size for entry in os.scandir(folder))


@given(OUTPUT, st.integers(1, 5))
def test_the_log_returns_what_was_written_except_for_a_beginning_reported_as_dropped(
    tmp_path_factory, output, often
):
    folder, skipped = f"{tmp_path_factory.mktemp('log')}/log", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_log, "PIECE_BYTES", 16)
        patch.setattr(output_log, "FILE_BYTES", 64)
        patch.setattr(output_log, "FILES", 2)
        log = OutputLog(folder)
        reader, found = LogReader(folder, skipped.append), []
        for i, (fd, data) in enumerate(output):
            log.write(fd, data)
            if i % often == 0:
                found += reader.read_to(log.nbytes)
        found += reader.read_to(log.nbytes)
    for fd, data in together(output).items():
        assert together(found)[fd] == data or (skipped and len(together(found)[fd]) < len(data))
    late = together(LogReader(folder, skipped.append).read_to(log.nbytes))
    assert all(data.endswith(late[fd]) for fd, data in together(output).items())
    assert not output or size(folder) <= 2 * (64 + 16 + 10)
    log.close()
    log.remove()
    assert not os.path.exists(folder)


def test_the_log_of_a_flood_stays_bounded_while_it_is_read(tmp_path):
    log, skipped, found = OutputLog(f"{tmp_path}/log"), [], []
    piece, n = bytes(PIECE_BYTES), 3 * FILES * FILE_BYTES // PIECE_BYTES
    began = threading.Event()

    def read():
        reader = LogReader(log.folder, skipped.append)
        while not found or log.nbytes < n * PIECE_BYTES:
            found.extend(data for _, data in reader.read_to(log.nbytes))
            began.set()
        found.extend(data for _, data in reader.read_to(log.nbytes))

    log.write(1, piece)
    thread = threading.Thread(target=read)
    thread.start()
    assert began.wait(20)
    for _ in range(n - 1):
        log.write(1, piece)
        assert size(log.folder) <= FILES * (FILE_BYTES + 2 * PIECE_BYTES)
    thread.join()
    log.close()
    assert all(set(data) == {0} for data in found)
    assert len(b"".join(found)) == n * PIECE_BYTES or skipped


def test_a_full_disk_leaves_only_whole_records(tmp_path, monkeypatch):
    log = OutputLog(f"{tmp_path}/log")
    log.write(1, b"before")

    def half(fd, data):
        os.write(fd, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(output_log, "write_all", half)
        log.write(1, b"lost")
    log.write(2, b"after")
    log.close()
    assert list(LogReader(log.folder, None).read_to(log.nbytes)) == [(1, b"before"), (2, b"after")]
