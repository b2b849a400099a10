"""Hoisted buffers on a host of which the pool's process is not: several workers get the same one."""

import types

import numpy as np
import pytest

from cmpi.pool import shared


@pytest.fixture
def worker(tmp_path, monkeypatch):
    state = types.SimpleNamespace(shared_memory=str(tmp_path))
    monkeypatch.setattr(shared.context, "current", lambda: types.SimpleNamespace(state=state))
    return lambda: shared.Attached("pool-0")


def test_the_workers_of_a_host_share_one_copy(worker):
    first, second = worker(), worker()
    assert first.put(1, np.arange(3, dtype=np.uint8)) and second.put(1, np.arange(3, dtype=np.uint8))
    assert not second._buffers and bytes(second.get(1)) == bytes(first.get(1)) == b"\0\1\2"


def test_a_worker_keeps_a_copy_of_its_own_while_another_is_still_writing(worker, tmp_path):
    (tmp_path / "pool-0-1~").write_bytes(b"half")
    late = worker()
    assert not late.put(1, np.arange(3, dtype=np.uint8))
    assert bytes(late.get(1)) == b"\0\1\2" and late.get(1).readonly


def test_without_a_folder_each_worker_keeps_a_copy(worker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = worker()
    one.folder = ""
    assert not one.put(1, np.arange(3, dtype=np.uint8))
    assert bytes(one.get(1)) == b"\0\1\2" and not list(tmp_path.iterdir())
