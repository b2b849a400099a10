"""Which processes `cmpi.init()` may restart: plain scripts, and nothing else."""

import sys
import sysconfig

import pytest

from cmpi.errors import UsageError
from cmpi.processes.restart import can_restart, is_script

SCRIPTS, PACKAGES = sysconfig.get_path("scripts"), sysconfig.get_path("purelib")


@pytest.mark.parametrize(
    "main, modules, script",
    [
        ("job.py", [], True),
        ("/home/me/job.py", ["IPython", "pytest"], True),
        ("", [], True),
        (f"{SCRIPTS}/uvicorn", [], False),
        (f"{PACKAGES}/uvicorn/__main__.py", [], False),
        (f"{SCRIPTS}/pytest", ["pytest", "_pytest.runner"], False),
        ("/home/me/tests.py", ["pytest", "_pytest.runner"], False),
        ("", ["IPython"], False),
        (f"{PACKAGES}/ipykernel_launcher.py", ["IPython", "ipykernel"], False),
    ],
)
def test_only_a_plain_script_is_restarted_under_cmpirun(main, modules, script):
    assert is_script(main, modules) == script


def test_a_pytest_run_is_not_restarted_under_cmpirun():
    assert not can_restart()


def test_a_process_of_multiprocessing_gets_no_job_of_its_own(monkeypatch):
    monkeypatch.setitem(sys.modules, "multiprocessing.spawn", sys)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "...", "--multiprocessing-fork"])
    with pytest.raises(UsageError, match="started by multiprocessing"):
        can_restart()
