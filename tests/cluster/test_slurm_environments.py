"""Slurm jobs without the environment of the shell that submitted them, or without a home."""

import pytest

WHERE = """
import os, cmpi
cmpi.init()
pids = [cmpi.spawn(lambda parent: None, resources=cmpi.Resources(host=host)) for host in ("h1", "h2")]
print(os.environ["RANK"], os.environ["HOME"], os.environ.get("MINE"), *map(cmpi.wait, pids))
"""


@pytest.mark.parametrize(
    "options, home, mine",
    [
        (("--slurm-args=--export=NONE",), "/root", None),
        (("--setup=unset HOME",), "/root", "here"),
        (("--slurm-args=--export=ALL,HOME=/nowhere", "--setup=module load gcc"), "/nowhere", "here"),
    ],
)
def test_a_job_on_two_nodes_needs_no_shell_environment(slurm_on_hosts, on_hosts, jobs, options, home, mine):
    options = ("--slurm", "-N", "2", "-n", "2", "--map-by", "node", "--output", "plain", *options)
    result = on_hosts.run(*options, "python", jobs.script(WHERE), env={"MINE": "here"})
    lines = [f"{rank} {home} {mine} 0 0" for rank in range(2)]
    assert (sorted(result.out.splitlines()), result.code) == (lines, 0), result
    told = "a command of --setup was not found: module load gcc" in result.err
    assert told == ("module" in options[-1]), result


def test_a_home_is_not_needed_without_slurm(jobs):
    script = jobs.script("import cmpi; cmpi.init(); print(cmpi.wait(cmpi.spawn(lambda parent: None)))")
    command = ("env", "--unset=HOME", "cmpirun", "--output", "plain", "python", script)
    assert jobs.run(*command).out == "0\n"
