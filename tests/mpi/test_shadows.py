"""Files in the working folder that have the names of modules that cmpi uses."""

import subprocess
import sys

import pytest

from cmpi._runtime import programs

SPAWN = """
import cmpi
def child(parent): print("spawned", flush=True)
if __name__ == "__main__":
    cmpi.init()
    print("rank", flush=True)
    assert cmpi.wait(cmpi.spawn(child)).ok
    group = cmpi.spawn_group(2, child)
    assert all(cmpi.wait(pid).ok for pid in group)
"""
OUTPUT = ["rank", "spawned", "spawned", "spawned"]
DEPENDENCIES = {"numpy", "mpi4py", "cloudpickle", "psutil", "beartype", "cmpi", "launcher"}


@pytest.fixture
def shadowed(tmp_path):
    """A folder in which each module of the standard library, and each that cmpi depends on, is shadowed by
    a trap."""
    folder = tmp_path / "shadows"
    folder.mkdir()
    for name in sys.stdlib_module_names | DEPENDENCIES:
        (folder / f"{name}.py").write_text(f"raise SystemExit('imported {name}.py of the working folder')")
    return folder


@pytest.fixture
def script(tmp_path):
    (tmp_path / "scripts").mkdir()
    path = tmp_path / "scripts" / "job.py"
    path.write_text(SPAWN)
    return str(path)


def test_ranks_and_what_they_spawn_import_nothing_from_the_working_folder(cmpirun, shadowed, script):
    result = cmpirun("python", script, cwd=shadowed)
    assert (result.code, result.out.split(), result.err) == (0, OUTPUT, ""), result


def test_a_script_that_starts_itself_imports_nothing_from_the_working_folder(jobs, shadowed, script):
    result = jobs.run("python", script, cwd=shadowed)
    assert result.code == 0 and result.out.count("spawned") >= 3 and "imported" not in result.err, result


def test_an_empty_part_of_pythonpath_changes_nothing_for_our_own_processes(cmpirun, shadowed):
    """It stands for the working folder, where Python and the script `cmpirun` look for their first imports.

    pip writes that script; some versions of pip make it import re.
    """
    command = [sys.executable, "-Ic", "import re, sys; print(*sys.modules)"]
    begins_with = subprocess.check_output(command, text=True).split()
    for name in {"cmpi", "__future__", *begins_with}:
        (shadowed / f"{name}.py").unlink(missing_ok=True)
    result = cmpirun("-n", "2", "true", cwd=shadowed, env={"PYTHONPATH": ":/nowhere"})
    assert (result.code, result.err) == (0, ""), result


def test_the_doctors_job_imports_nothing_from_the_working_folder(cmpirun, shadowed):
    result = cmpirun("-n", "2", "python", *programs.isolated(programs.DOCTORS_JOB), cwd=shadowed)
    assert '"survived": true' in result.out and "imported" not in result.err, result


def test_a_task_of_a_batch_job_imports_nothing_from_the_working_folder(cmpirun, shadowed, tmp_path):
    import cloudpickle

    call = tmp_path / "call"
    call.write_bytes(cloudpickle.dumps((lambda: 6 * 7, [()], sys.path)))
    task = programs.isolated(programs.SLURM_TASK, str(call))
    result = cmpirun("-n", "2", "python", *task, cwd=shadowed)
    assert result.code == 0, result
    assert [cloudpickle.loads((tmp_path / f"call.{rank}").read_bytes()) for rank in (0, 1)] == [(42,)] * 2


def test_an_agent_imports_nothing_from_the_folder_that_it_starts_in(jobs, shadowed):
    from cmpi._core.protocol import launcher_agent
    from cmpi.launcher.hosts.remote_host import AGENT

    result = jobs.run("python", "-c", AGENT, cwd=shadowed, input=b"", text=False)
    assert launcher_agent.GREETING in result.out and b"imported" not in result.err, result


@pytest.mark.parametrize("start", ["cmpirun", "init", "PYTHONPATH"])
def test_a_module_called_launcher_is_the_programs_own(jobs, tmp_path, start):
    (tmp_path / "launcher.py").write_text(
        "def launch(): return 'whoosh'\nif __name__ == '__main__': print('run as a program')\n"
    )
    script = jobs.script(
        "import cmpi, launcher\nif __name__ == '__main__':\n    cmpi.init()\n    print(launcher.launch())\n"
    )
    options = {"env": {"PYTHONPATH": str(tmp_path)}} if start == "PYTHONPATH" else {}
    argv = ["python", script] if start == "init" else ["cmpirun", "python", script]
    result = jobs.run(*argv, **options)
    assert result.code == 0 and "whoosh" in result.out and "as a program" not in result.out, result
