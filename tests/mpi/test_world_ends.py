"""One rank of a world fails while the others wait for it in MPI, in programs that never use cmpi."""

import os

import pytest

from cmpi._runtime.process import context

PLAIN = """
import os, sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
log = open(f"{os.environ['LOG']}/{comm.rank}", "w"); log.write("kept")
comm.barrier()
if comm.rank == 1:
    FAIL
comm.allreduce(1)
print("never", flush=True)
"""

ENDS = {
    "raises": ("raise ValueError('rank 1 is broken')", 1, "exit code 1: ValueError: rank 1 is broken"),
    "has a hook": (
        "sys.excepthook = lambda *what: print('my report', file=sys.stderr); raise ValueError('broken')",
        1,
        "exit code 1: ValueError: broken",
    ),
    "sys.exit": ("sys.exit(3)", 3, "exit code 3"),
    "raise SystemExit": ("raise SystemExit('some words')", 1, "exit code 1"),
    "os._exit(0)": ("os._exit(0)", 1, "os._exit(0) without MPI_Finalize"),
    "os._exit(4)": ("os._exit(4)", 4, "exit code 4"),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_failing_rank_ends_the_job_and_is_named(jobs, cmpirun, how):
    fail, code, words = ENDS[how]
    script = jobs.script(PLAIN.replace("FAIL", fail))
    result = cmpirun("-n", "3", "python", script, env={"LOG": str(jobs.folder)})
    assert result.code == code and "never" not in result.out, result
    assert "cmpirun: rank 1 failed: " in result.err and words in result.err, result
    assert "later" not in result.err and result.err.count("Traceback") == (how == "raises"), result
    assert ("my report" in result.err) == (how == "has a hook"), result
    if "os._exit" not in how:
        assert (jobs.folder / "1").read_text() == "kept", "its files are closed as Python closes them"


def test_a_failing_rank_ends_the_job_if_started_by_shebang_module_or_shell(jobs, cmpirun):
    text = PLAIN.replace("FAIL", "raise ValueError('broken')")
    script = jobs.script(f"#!/usr/bin/env python\n{text}")
    os.chmod(script, 0o755)
    jobs.script(text.replace("comm.barrier()", "import cmpi; cmpi.pid(); comm.barrier()"), "joined.py")
    for command in ([script], ["python", "-m", "job"], ["sh", "-c", "python joined.py; exit $?"]):
        result = cmpirun("-n", "3", *command, env={"LOG": str(jobs.folder)})
        assert result.code == 1 and "rank 1 failed: exit code 1: ValueError: broken" in result.err, result


def test_a_group_ends_together_however_one_of_its_members_fails(job):
    result = job(
        """
import cmpi, os, sys
def member(parent, how):
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    comm.barrier()
    if comm.rank == 1: exec(how)
    comm.allreduce(1)
for how in ("raise ValueError('x')", "sys.exit(3)"):
    print([cmpi.wait(p).ok for p in cmpi.spawn_group(3, member, how)], flush=True)
"""
    )
    assert result.out == "[True, False, True]\n" * 2, result


def test_a_forked_child_fails_alone_and_leaves_the_ranks_mpi_intact(jobs, cmpirun):
    text = """
import os, sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
if comm.rank == 0 and os.fork() == 0: raise ValueError("in a fork")
if comm.rank == 1 and os.fork() == 0: sys.exit()
if comm.rank == 2 and os.fork() == 0: os._exit(0)
print(comm.rank, os.waitstatus_to_exitcode(os.wait()[1]), comm.allreduce(1), flush=True)
"""
    result = cmpirun("-n", "3", "python", jobs.script(text))
    assert sorted(result.out.splitlines()) == ["0 1 3", "1 0 3", "2 0 3"] and result.code == 0, result
    assert result.err.count("ValueError: in a fork") == 1, result


def test_rank_main_is_known_by_one_name():
    with open(os.path.join(os.path.dirname(context.__file__), "rank_main.py")) as file:
        assert f'sys.modules["{context.RANK_MAIN}"]' in file.read()
