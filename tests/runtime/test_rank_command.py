import sys

from cmpi._runtime import programs
from cmpi._runtime.monitor.rank_command import rank_command

RUNNER = programs.path_of(programs.RANK_MAIN)


def script(folder, first_line, mode=0o755):
    path = folder / "tool"
    path.write_text(f"{first_line}\npass\n")
    path.chmod(mode)
    return path


def test_python_and_scripts_that_name_it_are_run_by_rank_main(tmp_path, monkeypatch):
    path = script(tmp_path, f"#!{sys.executable} -u")
    expected = [sys.executable, "-u", RUNNER, "", str(path), "a"]
    if sys.executable.rpartition("/")[2].startswith("python"):
        assert rank_command([str(path), "a"], "/") == expected
        assert rank_command(["./tool"], str(tmp_path))[3:] == ["", "./tool"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert rank_command(["tool"], "/")[-1] in (str(path), "tool")
    assert rank_command(["python", "a.py"], "/") == ["python", RUNNER, "", "a.py"]


def test_other_commands_are_run_unchanged(tmp_path):
    for first_line, mode in (
        ("#!/bin/sh", 0o755),
        ("#!/no/such/python3", 0o755),
        (f"#!{sys.executable}", 0o644),
    ):
        path = str(script(tmp_path, first_line, mode))
        assert rank_command([path], "/") == [path]
    assert rank_command(["no-such-program"], "/") == ["no-such-program"]
    assert rank_command(["python", "-V"], "/") == ["python", "-V"]
