import json

import pytest

from cmpi.launcher.doctor import findings
from cmpi.launcher.doctor.findings import FAULT, OK, WARNING, Finding

GIB = 1 << 30
WELL = {
    "library": "MPICH 5",
    "ranks": 2,
    "spawn_ms": 40.2,
    "gb_per_s": 8.0,
    "shared_memory": True,
    "survived": True,
}


@pytest.mark.parametrize(
    ("finding", "state", "words"),
    [
        (findings.cores(8, 8, 8 * 65536), OK, "8 of 8 may be used"),
        (findings.cores(4, 8, 4 * 65536), OK, "4 of 8 may be used (by affinity)"),
        (findings.cores(8, 8, 98304), OK, "1.5 of 8 may be used (a cgroup"),
        (findings.memory(8 * GIB, 2 * GIB), OK, "2 GiB of 8 GiB"),
        (
            findings.fabric("h2", "cxi0", "auto", carried=True),
            OK,
            "cxi0 seen; its channels to other hosts go thr",
        ),
        (findings.fabric("h2", "cxi0", "tcp", carried=False), OK, "go by TCP (--fabric tcp)"),
        (
            findings.shared_memory(None, "/tmp", ""),
            WARNING,
            "cannot be written to; processes share memory",
        ),
        (
            findings.shared_memory(64 << 20, "/tmp", ""),
            WARNING,
            "64 MiB free; processes share memory through files",
        ),
        (findings.shared_memory(0, "/tmp", "/dev/shm is full (fix it)"), FAULT, "/dev/shm is full"),
        (findings.shared_memory(GIB, "/tmp", ""), OK, "1 GiB free"),
        (findings.descriptors(256), WARNING, "at most 256 in a process, so MPI's launcher has room for 38"),
        (findings.descriptors(4096), OK, "4096"),
        (findings.job_folder("/tmp", True), OK, "/tmp"),
        (findings.cmpi_itself("0.1", True), OK, "0.1, compiled"),
        (findings.cmpi_itself("0.1", False), OK, "not compiled"),
        (findings.job_folder("/tmp", False), FAULT, "not writable"),
        (findings.job_folder("/tmp", True, "/tmp can be written to"), FAULT, "/tmp can be written to"),
        (findings.job_folder("/x" * 50, True), FAULT, "too long for sockets"),
    ],
)
def test_each_finding_has_a_state_and_each_fault_a_remedy(finding, state, words):
    assert finding.state == state and words in finding.found
    assert bool(finding.fix) == (state != OK)


def test_a_probe_job_reports_spawning_arrays_and_isolation():
    assert [f.state for f in findings.real_job(WELL, "a real job", "")] == [OK] * 4
    worse = findings.real_job(WELL | {"shared_memory": False, "survived": False}, "a real job", "")
    assert [f.state for f in worse] == [OK, OK, WARNING, FAULT]
    (failed,) = findings.real_job(None, "a real job", "\n  cmpirun: no way\nmore\n")
    assert failed.state == FAULT and failed.found == "failed; it said: cmpirun: no way"
    trace = "Traceback (most recent call last):\n  File 'a.py', line 1\nImportError: no numpy\n"
    (failed,) = findings.real_job(None, "a real job", trace)
    assert failed.found == "failed; it said: ImportError: no numpy"


def test_the_worst_finding_is_the_exit_code_and_the_last_line():
    rows = [Finding("a", OK, "fine"), Finding("bb", WARNING, "so so", "do this")]
    assert findings.as_text(rows) == (
        "a   ok       fine\nbb  warning  so so\n             fix: do this\n1 warning\n"
    )
    assert findings.CODES[findings.worst(rows)] == 1 and findings.CODES[findings.worst(rows[:1])] == 0
    assert findings.as_text(rows[:1]).endswith("all is well\n")
    rows.append(Finding("c", FAULT, "broken", "fix it"))
    assert findings.as_text(rows).endswith("1 fault and 1 warning\n")
    assert json.loads(findings.as_json(rows))["state"] == "fault"
