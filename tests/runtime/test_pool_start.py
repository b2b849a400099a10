"""A ProcessPool that cannot start."""

import gc
import sys

import pytest

from cmpi import NotRunning, ProcessPool
from cmpi._runtime import environment as names


def test_a_pool_outside_a_job_raises_only_not_running(monkeypatch):
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    monkeypatch.delenv(names.CONTROL, raising=False)
    with pytest.raises(NotRunning, match="in place of mpiexec or srun") as raised:
        ProcessPool(2)
    del raised
    gc.collect()
    assert not ignored, "the finalizer of the unfinished pool failed"
