"""Which processes `cmpi.init()` may start again, and what it says of the others."""

import sysconfig

import pytest

from cmpi.processes.restart import hosting_program

SCRIPTS, PACKAGES = sysconfig.get_path("scripts"), sysconfig.get_path("purelib")


@pytest.mark.parametrize(
    "main, modules, argv, orig_argv, said",
    [
        ("job.py", [], ["job.py"], ["job.py"], ""),
        ("/home/me/job.py", ["IPython", "pytest"], ["job.py"], ["job.py"], ""),
        ("", [], ["-c"], ["-c", "pass"], ""),
        (f"{SCRIPTS}/uvicorn", [], ["uvicorn", "app:app"], [], "cmpirun uvicorn app:app"),
        (
            f"{PACKAGES}/uvicorn/__main__.py", [], ["uvicorn", "a b:app"], ["-m", "uvicorn", "a b:app"],
            "cmpirun python -m uvicorn 'a b:app'",
        ),
        (f"{SCRIPTS}/pytest", ["pytest", "_pytest.runner"], ["pytest", "-x"], [], "cmpirun pytest -x"),
        ("", ["IPython"], ["ipython"], [], "cmpirun ipython"),
        (f"{PACKAGES}/ipykernel_launcher.py", ["IPython", "ipykernel"], [], [], "kernelspec"),
        ("job.py", ["multiprocessing.spawn"], ["job.py"], ["--multiprocessing-fork"], "multiprocessing"),
    ],
)  # fmt: skip
def test_a_script_is_started_again_and_all_else_is_told_how_to_start(main, modules, argv, orig_argv, said):
    found = hosting_program(main, modules, argv, orig_argv)
    assert said in found and bool(said) == bool(found)
