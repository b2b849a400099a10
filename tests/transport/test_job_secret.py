"""Where the job's secret is in memory, and where it is not."""

import os
import stat

import pytest

from cmpi._transport import job_secret


def memory_of(pid):
    """The private, writable memory of a process."""
    found = b""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            span, rights, *_ = line.split()
            begin, end = (int(x, 16) for x in span.split("-"))
            if rights.startswith("rw") and "[v" not in line:
                try:
                    memory.seek(begin)
                    found += memory.read(end - begin)
                except OSError:
                    continue
    return found


def test_the_secret_file_has_mode_0600_and_reads_back(tmp_path):
    made = job_secret.create(str(tmp_path))
    path = tmp_path / job_secret.NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = job_secret.read(str(tmp_path))
    assert bytes(read.key) == bytes(made.key) == path.read_bytes() != bytes(job_secret.NBYTES)
    made.forget()
    read.forget()


def test_an_existing_secret_file_is_never_overwritten(tmp_path):
    (tmp_path / job_secret.NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        job_secret.create(str(tmp_path))
    assert not (tmp_path / "elsewhere").exists()


def test_a_truncated_secret_file_is_an_error(tmp_path):
    (tmp_path / job_secret.NAME).write_bytes(b"short")
    with pytest.raises(OSError, match="holds 5 bytes"):
        job_secret.read(str(tmp_path))


def test_a_forked_process_finds_the_page_empty_and_a_core_dump_leaves_it_out(tmp_path):
    secret = job_secret.create(str(tmp_path))
    with open("/proc/self/smaps") as file:
        flags = [line for line in file if line.startswith("VmFlags") and " dd " in line and " wf " in line]
    assert flags, "one mapping is neither dumped nor inherited"
    pid = os.fork()
    if pid == 0:
        os._exit(0 if bytes(secret.key) == bytes(32) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    secret.forget()
