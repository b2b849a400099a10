"""Files of killed processes are removed while a job goes on, and nothing else is."""

import os

from cmpi._runtime.root import remains

ENDED = {0x1, 0xABCDEF0}


def test_only_files_of_ended_processes_are_removed(tmp_path):
    folder, memory = tmp_path / "job", tmp_path / "shm"
    folder.mkdir()
    memory.mkdir()
    kept = ["0000002.bell", "secret", "root", "12.pid", "abcdef0.other", "fork"]
    for name in ["0000001.bell", "abcdef0.bell", "abcdef0.link", *kept]:
        (folder / name).touch()
    shared = ["1-2", "2-1", "2-2.s1", "sm_segment.vm.0.1", "sm_segment.my-host.1", "a-b-c"]
    for name in ["1-abcdef0", "abcdef0-1", "1-abcdef0.s3", *shared]:
        (memory / name).touch()
    remains.remove(str(folder), str(memory), ENDED.__contains__)
    assert sorted(os.listdir(folder)) == sorted(kept)
    assert sorted(os.listdir(memory)) == sorted(shared)


def test_a_missing_shared_memory_folder_is_no_error(tmp_path):
    remains.remove(str(tmp_path), str(tmp_path / "none"), ENDED.__contains__)
