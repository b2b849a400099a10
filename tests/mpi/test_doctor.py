import json


def test_the_doctor_runs_a_real_job_and_finds_all_well(jobs):
    result = jobs.run("cmpirun", "--doctor")
    assert result.code == 0 and result.out.endswith("all is well\n") and not result.err, result
    for words in (
        "spawn and connect  ok",
        "through shared memory",
        "survived when a spawned one was killed",
    ):
        assert words in result.out, result


def test_the_doctor_names_faults_and_remedies(jobs):
    result = jobs.run("sh", "-c", "ulimit -n 512; cmpirun --doctor --mpiexec /no/such/mpiexec --json")
    found = json.loads(result.out)
    states = {row["what"]: row["state"] for row in found["findings"]}
    assert states["MPI"] == "fault" and states["open files"] == "warning" and result.code == 2
    assert any(
        "no executable MPI launcher at /no/such/mpiexec" in row["found"] for row in found["findings"]
    )


def test_the_doctor_has_a_separate_exit_code_for_warnings(jobs):
    result = jobs.run("sh", "-c", "ulimit -n 512; cmpirun --doctor")
    assert result.code == 1 and "at most 512 in a process" in result.out, result
