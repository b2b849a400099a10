"""From the command line to the ranks, and back to the exit code."""

import os
import shutil

import pytest

from tests.mpi.conftest import mpi_kind

WORLD = """
from mpi4py import MPI
import cmpi
w = MPI.COMM_WORLD
pids = w.allgather(cmpi.pid())
assert pids == cmpi.world(), (pids, cmpi.world())
assert w.size == 4 and MPI.Comm.Get_parent() == MPI.COMM_NULL
assert w.alltoall(list(range(4))) == [w.rank] * 4
assert cmpi.parent() is None
print("rank", w.rank, "sum", w.allreduce(w.rank))
"""


def test_job_has_a_world_of_exactly_n_ranks_with_pids_in_rank_order(job):
    result = job(WORLD, options=("-n", "4"))
    assert result.code == 0, result
    assert sorted(result.out.splitlines()) == [f"rank {r} sum 6" for r in range(4)]
    assert result.err == ""


def test_one_rank_is_the_default(cmpirun):
    result = cmpirun("python", "-c", "from mpi4py import MPI; print(MPI.COMM_WORLD.size)")
    assert (result.code, result.out) == (0, "1\n"), result


def test_more_ranks_than_cores_run(cmpirun):
    code = "from mpi4py import MPI; print(MPI.COMM_WORLD.allreduce(1))"
    n = 4 * os.cpu_count()
    result = cmpirun("-n", str(n), "python", "-c", code)
    assert (result.code, result.out) == (0, f"{n}\n" * n), result


def test_a_program_that_never_starts_mpi_runs_and_ends(cmpirun):
    result = cmpirun("-n", "4", "hostname")
    assert (result.code, result.out) == (0, f"{os.uname().nodename}\n" * 4), result


@pytest.mark.parametrize("n", ["1", "3"])
def test_a_missing_program_is_named(cmpirun, n):
    result = cmpirun("-n", n, "no-such-program")
    assert result.code == 127 and "not found on PATH: no-such-program" in result.err, result


def test_a_file_that_is_not_executable_is_named_with_the_remedy(cmpirun, jobs):
    result = cmpirun(jobs.script("print()", "job"))
    assert result.code == 126 and "chmod +x" in result.err, result


def test_a_script_whose_interpreter_is_missing_is_explained(cmpirun, jobs):
    path = jobs.script("#!/no/such/interpreter\n")
    os.chmod(path, 0o755)
    result = cmpirun(path)
    assert result.code == 127 and "interpreter" in result.err, result


def test_exit_codes_pass_through_and_the_report_names_the_rank(cmpirun):
    result = cmpirun("-n", "1", "sh", "-c", "echo oh no >&2; exit 7")
    assert result.code == 7, result
    for part in ("rank 0 failed: exit code 7", "ran     sh -c", "oh no"):
        assert part in result.err


def test_one_rank_that_fails_before_mpi_init_ends_the_job_with_its_code(job):
    text = (
        "import os, sys\nif os.environ.get('PMI_RANK', os.environ.get('PMIX_RANK')) == '1': sys.exit(5)\n"
    )
    result = job(text + "from mpi4py import MPI\nMPI.COMM_WORLD.Barrier()\n", options=("-n", "3"))
    assert result.code == 5 and "rank 1" in result.err, result


def test_one_rank_that_dies_in_a_collective_ends_the_world_with_one_report(job):
    text = """
import os, signal
from mpi4py import MPI
if MPI.COMM_WORLD.rank == 2: os.kill(os.getpid(), signal.SIGKILL)
MPI.COMM_WORLD.Barrier()
"""
    result = job(text, options=("-n", "4"))
    assert result.code == 137, result
    assert result.err.count("failed") == 1 and "rank 2 failed: ended by signal 9" in result.err, result


def test_an_exception_in_a_rank_that_uses_cmpi_ends_the_world_though_mpi_would_hang(job):
    text = """
from mpi4py import MPI
import cmpi
cmpi.init()
if MPI.COMM_WORLD.rank == 1: raise ValueError("no")
MPI.COMM_WORLD.Barrier()
"""
    result = job(text, options=("-n", "2"))
    assert result.code == 1 and "rank 1 failed: exit code 1: ValueError: no" in result.err, result


def test_a_script_starts_itself_under_cmpirun(jobs):
    text = """
import sys, cmpi
if __name__ == "__main__":
    cmpi.init()
    print(sys.argv[1:], len(cmpi.world()))
"""
    result = jobs.run("python", jobs.script(text), "a b", "ü")
    assert result.code == 0 and "['a b', 'ü'] 1" in result.out, result


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_standard_descriptor_may_be_closed(jobs, closed):
    script = jobs.script("import sys; print(repr(sys.stdin.read()), file=sys.stderr); print('hi')")
    command = f"exec cmpirun --output plain python '{script}' {closed}>&-"
    result = jobs.run("sh", "-c", command, input=b"text")
    assert result.code == 0, result
    assert result.out == ("" if closed == 1 else "hi\n"), result
    assert result.err == ("" if closed == 2 else f"{'' if closed == 0 else 'text'!r}\n"), result


def test_use_outside_a_job_raises_an_error_with_a_remedy(jobs):
    result = jobs.run("python", "-c", "import cmpi; cmpi.pid()")
    assert result.code == 1 and "NotRunning" in result.err and "cmpi.init()" in result.err, result


def test_blanks_and_unicode_in_paths_arguments_and_environment_are_preserved(cmpirun, jobs):
    folder = jobs.folder / "a folder ü€"
    folder.mkdir()
    script = folder / "my jöb.py"
    script.write_text("import os, sys; print(sys.argv[1:], os.environ['VÄR'], os.getcwd())")
    result = cmpirun("python", "my jöb.py", "a b", "", "€'\"$x", cwd=folder, env={"VÄR": "x ß"})
    assert result.out == f"{['a b', '', chr(8364) + chr(39) + chr(34) + '$x']} x ß {folder}\n", result


def test_stdin_reaches_rank_0_whole(job):
    data = os.urandom(3_000_000).hex().encode()
    text = """
import sys, hashlib
from mpi4py import MPI
data = sys.stdin.buffer.read()
print(MPI.COMM_WORLD.rank, len(data), hashlib.md5(data).hexdigest())
"""
    result = job(text, options=("-n", "2"), input=data)
    import hashlib

    assert f"0 {len(data)} {hashlib.md5(data).hexdigest()}" in result.out.splitlines(), result
    assert f"1 0 {hashlib.md5(b'').hexdigest()}" in result.out.splitlines(), result


def test_a_process_that_does_not_read_its_stdin_holds_nothing_up(cmpirun):
    result = cmpirun("true", input=b"x" * 1_000_000)
    assert result.code == 0, result


def test_mpi_args_reach_mpiexec_and_verbose_shows_the_command(jobs):
    flag = "-x CMPI_X=1" if "openmpi" in mpi_kind() else "-genv CMPI_X 1"
    result = jobs.run("cmpirun", "--verbose", "--mpi-args", flag, "true")
    assert result.code == 0 and "CMPI_X" in result.err and "root/main.py" in result.err, result


def test_version_names_all_parts(jobs):
    result = jobs.run("cmpirun", "--version")
    assert result.code == 0, result
    for part in ("cmpi 0.", "compiled)", "Python 3.", "mpi4py 4.", "MPI"):
        assert part in result.out


def test_an_mpiexec_of_another_mpi_is_named(jobs, tmp_path):
    other = "mpich" if mpi_kind() == "openmpi" else "openmpi"
    fake = tmp_path / "mpiexec"
    real = shutil.which("mpiexec", path=jobs.environment["PATH"])
    version = {"openmpi": "mpiexec (Open MPI) 5.0.1", "mpich": "HYDRA\\n    Version:  4.2.0"}[other]
    fake.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then printf "{version}\\n"; exit; fi\n'
        'while [ "$1" != -n ]; do shift; done\n'
        f'exec {real} {"--allow-run-as-root" if other == "mpich" else ""} "$@"\n'
    )
    fake.chmod(0o755)
    result = jobs.run("cmpirun", "--mpiexec", str(fake), "true")
    assert result.code == 1 and "another MPI" in result.err, result


def test_only_a_program_that_spawns_makes_the_root_start_mpi(jobs):
    text = """
import os, psutil, time, cmpi
from mpi4py import MPI
def is_root(process):
    try:
        ours = process.environ().get("MARK_OF_TEST_JOB") == os.environ["MARK_OF_TEST_JOB"]
        return ours and any("root/main.py" in word for word in process.cmdline()[:4])
    except psutil.Error:
        return False
while len(roots := [p for p in psutil.process_iter() if is_root(p)]) < 2:
    time.sleep(0.01)  # the spawn completer may be slower
def with_mpi(): return [any("libmpi" in region.path for region in p.memory_maps()) for p in roots]
print(with_mpi())
cmpi.wait(cmpi.spawn(lambda parent: None))
print(with_mpi())
"""
    result = jobs.run("cmpirun", "--output", "plain", "python", jobs.script(text))
    assert (result.code, result.out) == (0, "[False, False]\n[True, True]\n"), result


def test_an_mpiexec_that_cannot_start_the_ranks_is_quoted(jobs, tmp_path):
    real = shutil.which("mpiexec", path=jobs.environment["PATH"])
    fake = tmp_path / "mpiexec"
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *spawn_stub*) echo no slots here >&2; exit 3;; esac\nexec {real} "$@"\n'
    )
    fake.chmod(0o755)
    result = jobs.run("cmpirun", "--mpiexec", str(fake), "-n", "2", "true")
    assert result.code == 126 and "MPI's launcher said:\nno slots here" in result.err, result


def test_concurrent_jobs_do_not_interfere(jobs):
    script = jobs.script("from mpi4py import MPI; print(MPI.COMM_WORLD.allreduce(1))")
    running = [jobs.start("cmpirun", "--output", "plain", "-n", "2", "python", script) for _ in range(3)]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, b"2\n2\n"), err


def test_an_ordinary_user_can_run_jobs(as_user):
    text = """
import os
import cmpi
def child(parent): cmpi.Sender(parent).send(os.getuid())
print(cmpi.Receiver(cmpi.spawn(child)).recv())
"""
    result = as_user(65534, text)
    assert (result.code, result.out) == (0, "65534\n"), result


def test_256_descriptors_are_enough_for_a_small_job(jobs):
    script = jobs.script(
        "import cmpi\n"
        "pids = [cmpi.spawn(lambda parent: None) for _ in range(8)]\n"
        "print([cmpi.wait(p).code for p in pids])\n"
    )
    result = jobs.run("sh", "-c", f"ulimit -n 256; exec cmpirun --output plain python '{script}'")
    assert (result.code, result.out) == (0, f"{[0] * 8}\n"), result


def test_the_package_runs_as_a_module_too(jobs):
    result = jobs.run("python", "-m", "cmpi.launcher", "--output", "plain", "echo", "hi")
    assert (result.code, result.out) == (0, "hi\n"), result


def test_a_working_folder_that_was_removed_is_named(jobs):
    command = "mkdir gone; cd gone; rmdir ../gone; cmpirun {}"
    for options in ("python -c 1", "--serve", "--output-dir out python -c 1", "--slurm python -c 1"):
        result = jobs.run("sh", "-c", command.format(options))
        assert result.code == 2 and not result.out, result
        assert "the working folder has been removed; cd to a folder that exists" in result.err, result
    assert jobs.run("sh", "-c", command.format("--version")).code == 0
