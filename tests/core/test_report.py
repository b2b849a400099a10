from cmpi._core.job.job import JobMachine
from cmpi._core.job.report import end_event, final_report, memory_report
from cmpi._core.output.output import NORMAL, VERBOSE
from cmpi._core.protocol import monitor_root, process_root
from cmpi._core.scheduling.host_room import Host
from cmpi.identifiers import ExitStatus, Resources
from tests.core.frames import spawn_frame


def failed_job(status, summary=""):
    job = JobMachine([Host("node1", 65536, 1 << 30)])
    job.launch(["python", "job.py"], ["node1"] * 2)
    a, b = job.starts[0]
    if summary:
        job.from_rank(b, process_root.Raised(summary, ""), 0.0)
    job.exited(b, status, 0.0)
    job.exited(a, ExitStatus(143, 15), 0.0)
    return job, b


def report(job, tail=b"", verbosity=NORMAL):
    return final_report(job, lambda pid: tail, verbosity)


def test_the_report_names_the_first_failure_its_program_and_scrolled_off_output():
    job, _ = failed_job(ExitStatus(139, 11))
    assert report(job, b"last words\n") == (
        "cmpirun: rank 1 failed: ended by signal 11 (SIGSEGV)\n"
        "    ran     python job.py\n"
        "    its last lines on stderr:\n"
        "      last words\n"
    )
    assert "last" not in report(job)


def test_the_report_names_the_host_if_there_are_several_and_memory_on_request():
    job, pid = failed_job(ExitStatus(3))
    job.used(pid, monitor_root.ProcessExited(code=3, peak_rss_bytes=1 << 28, cpu_s=1.0))
    assert "node1" not in report(job) and "memory" not in report(job)
    text = report(job, verbosity=VERBOSE)
    assert "    host    node1\n" in text and "    memory  used 256 MiB at most\n" in text
    job.processes[job.starts[0][0]].host = "node2"
    assert "    host    node1\n" in report(job)


def test_the_report_names_memory_as_the_cause():
    job = JobMachine([Host("node1", 65536, 1 << 30)])
    job.launch(["p"], ["node1"])
    (pid,) = job.starts[0]
    job.over_memory(pid, monitor_root.OverMemory(412 << 20, 1, "12:00:03"))
    job.exited(pid, ExitStatus(137, 9), 0.0)
    assert report(job).startswith("cmpirun: rank 0 failed: out of memory: asked ")


def test_other_ranks_of_a_failed_world_are_not_listed_as_failures():
    job, _ = failed_job(ExitStatus(3))
    assert "later" not in report(job)


def test_a_shared_traceback_is_shown_only_once():
    job = JobMachine([Host("node1", 65536, 1 << 30)])
    job.launch(["p"], ["node1"] * 8)
    for i, pid in enumerate(job.starts[0]):
        trace = "Traceback ...\n  deep\nValueError: x\n" if i != 3 else "Traceback ...\nKeyError: 'y'\n"
        job.from_rank(pid, process_root.Raised(trace.splitlines()[-1], trace), 0.0)
        job.exited(pid, ExitStatus(1), 0.0)
    text = report(job, b"Traceback ...\n  deep\nValueError: x\n")
    assert "    alike   rank 0, rank 1, rank 2, rank 4 and 3 more raised the same\n" in text
    assert "deep" not in text


def test_a_successful_job_has_no_report():
    job = JobMachine([Host("node1", 1, 1)])
    job.launch(["p"], ["node1"] * 1)
    job.exited(job.starts[0][0], ExitStatus(0), 0.0)
    assert report(job, verbosity=VERBOSE) == ""


def test_the_last_json_event_has_the_jobs_exit_code():
    job, pid = failed_job(ExitStatus(139, 11))
    event = end_event(job, 139, 2.5)
    assert event["code"] == 139 and event["interrupted"] is False
    assert event["first_failure"] == {
        "pid": f"{pid:07x}", "rank": 1, "name": "rank 1", "host": "node1", "code": 139, "signal": 11,
        "verdict": "",
    }  # fmt: skip
    assert event["usage"] == {"processes": 2, "wall_s": 2.5, "cpu_s": 0, "peak_bytes": 0}


def test_processes_with_equal_failures_share_one_line():
    job = JobMachine([Host("node1", 65536, 1 << 30)])
    job.launch(["p"], ["node1"] * 1)
    (a,) = job.starts[0]
    job.fork_server("node1", "dead")
    for i in range(7):
        job.from_rank(a, spawn_frame(i), 0.0)
    pids = [pid for start in range(1, 8) for pid in job.starts[start]]
    for i, pid in enumerate(pids):
        job.from_rank(pid, process_root.Raised("ValueError: x" if i != 3 else "KeyError: 'y'", ""), 0.0)
        job.exited(pid, ExitStatus(1), 0.0)
    b, c, _, e, f, _ = (f"f · {pid:07x}" for pid in pids[1:])
    text = report(job)
    assert f"later   {b}, {c}, {e}, {f} and 1 more: 1: ValueError: x" in text
    assert f"later   f · {pids[3]:07x}: 1: KeyError: 'y'" in text


def test_the_report_shows_used_memory_and_core_dumps():
    job = JobMachine([Host("node1", 65536, 1 << 40)])
    job.launch(["p"], ["node1"] * 3)
    for i, pid in enumerate(job.starts[0]):
        process = job.processes[pid]
        process.asks_memory, process.resources = i > 0, Resources(memory="4 GiB")
    job.launch(["q"], ["node1"])
    (small,) = job.starts[1]
    job.processes[small].asks_memory, job.processes[small].peak_bytes = True, 1 << 28
    job.processes[small].resources = Resources(memory="1 MiB")
    for i, pid in enumerate(job.starts[0]):
        exited = monitor_root.ProcessExited(
            code=139, signal=11, peak_rss_bytes=(i + 1) << 28, cpu_s=1.0, core="/cores/7" if i else ""
        )
        job.used(pid, exited)
    assert memory_report(job).splitlines()[1:] == ["    p (2 processes): asked 4 GiB, used 768 MiB"]
    job.exited(job.starts[0][1], ExitStatus(139, 11), 0.0)
    assert "    core    /cores/7\n" in report(job)
    assert memory_report(JobMachine([Host("node1", 1, 1)])) == ""
