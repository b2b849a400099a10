"""The benchmarks run and report what they measured. The figures themselves are not tested."""

import json
import subprocess
import sys

import psutil
import pytest

from cmpi.bench.jobs.limited import parts

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["pingpong", "rate", "stream", "dict", "wakeup"])
def test_a_benchmark_gives_rows(jobs, name):
    result = jobs.run(sys.executable, "-m", "cmpi.bench", name, "--runs", "1", "--json")
    assert result.code == 0, result
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert rows and all(row["ours"] > 0 and row["theirs"] > 0 for row in rows)


def test_the_benchmark_of_streams_does_the_same_work_everywhere(jobs):
    pytest.importorskip("pyarrow")
    command = ("python", "-m", "cmpi.bench.jobs.data_work", "1", "0.0003")
    result = jobs.run("cmpirun", "--output", "plain", *command, timeout=90)
    assert result.code == 0, result
    figures = json.loads(result.out.splitlines()[-1])
    assert set(figures) == {"words", "mean", "csv", "rows", "join", "growth"}
    assert all(rates["cmpi"] > 0 for rates, _ in figures.values())
    assert all(cpu_s.keys() == rates.keys() for key, (rates, cpu_s) in figures.items() if key != "growth")


def test_a_short_soak_loses_no_messages(jobs):
    result = jobs.run(sys.executable, "-m", "cmpi.bench", "soak", "--seconds", "5", timeout=60)
    assert result.code == 0, result


@pytest.mark.parametrize(
    ("workload", "kills", "options"),
    [("messages", 40, ()), ("messages", 40, ("--no-shared-memory",)), ("pool", 25, ())],
    ids=["messages", "messages by sockets", "pool"],
)
def test_the_chaos_benchmark_accounts_for_every_process(jobs, workload, kills, options):
    options = ("--workload", workload, "--kills", str(kills), *options)
    result = jobs.run(sys.executable, "-m", "cmpi.bench", "chaos", *options, timeout=80)
    assert result.code == 0 and f"{kills} kills survived" in result.out, result


def test_processes_under_limits_are_counted(jobs):
    result = jobs.run("cmpirun", "--output", "plain", "python", "-m", "cmpi.bench.jobs.limited", "3", "50")
    figures = json.loads(result.out.splitlines()[-1])
    assert set(figures["alive"]["descriptors"]) >= {"cmpirun", "mpiexec", "root", "fork server"}
    assert figures["short"]["last"] > 0
    assert max(figures["short"]["more descriptors"].values()) < 20, figures


@pytest.mark.slow
def test_a_thousand_short_processes_cost_little_memory_and_no_descriptors_once_they_have_ended(jobs):
    options = "--output", "plain", "--output-dir", "logs"
    result = jobs.run(
        "cmpirun", *options, "python", "-m", "cmpi.bench.jobs.limited", "3", "1000", timeout=100
    )
    short = json.loads(result.out.splitlines()[-1])["short"]
    # MPI's own growth is 38 to 70 MB for a thousand MPI_Comm_spawns. The root keeps 1,000 records.
    assert max(short["grown"].values()) < 15, short
    # MPICH's proxy keeps one of each of the 32 slots.
    assert max(short["more descriptors"].values()) < 40, short


def test_the_parts_of_a_job_are_found_while_its_processes_come_and_go():
    forking = "import os\nwhile os.fork():\n    os.wait()"
    with subprocess.Popen([sys.executable, "-c", forking, "root/main"]) as job:
        try:
            for _ in range(1000):
                assert parts(psutil.Process(job.pid)) == {"root": [psutil.Process(job.pid)]}
        finally:
            job.kill()


def test_a_job_that_stays_does_not_grow_with_its_guests_and_deployments(jobs):
    command = ("-m", "cmpi.bench", "standing", "--count", "10", "--json")
    result = jobs.run(sys.executable, *command, timeout=300)
    rows = [json.loads(line) for line in result.out.splitlines()]
    growth = [row["ours"] for row in rows if "growth" in row["what"]]
    assert len(growth) >= 8 and max(growth) < 300, result  # Open MPI keeps 100 KB of each start
    assert max(row["ours"] for row in rows if "more files" in row["what"]) < 10, result
    # MPICH's proxy keeps a descriptor of each process that MPI_Comm_spawn starts, ours or not.
    descriptors = [(row["ours"], row["theirs"]) for row in rows if row["against"] == "the same"]
    assert len(descriptors) >= 2 and all(ours < theirs + 1 for ours, theirs in descriptors), result


def test_an_unknown_benchmark_is_refused(jobs):
    result = jobs.run(sys.executable, "-m", "cmpi.bench", "speed")
    assert result.code == 2 and "no benchmark 'speed'" in result.err
