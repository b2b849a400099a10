"""Which files of batch jobs may be deleted."""

from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.slurm import tidy

JOBS = ["7", "8", "900"]
OF_JOBS = [f"{job}{task}.{end}" for job in JOBS for task in ("", "_0") for end in ("out", "err", "code")]
CALL = "call-0123456789ab"
OF_SUBMISSIONS = ["20260102-030405-77.sh", CALL, f"{CALL}.0", f"{CALL}.3.0", f"{CALL}.0.new"]
FOREIGN = ["notes.txt", "7.txt", "out", "call-me", "7.out.gz", "run.sh", "x7.out", "call-0123456789ab.py"]
TIMES = st.integers(0, 9).map(lambda n: 100.0 * n)
FOLDERS = st.dictionaries(st.sampled_from(OF_JOBS + OF_SUBMISSIONS + FOREIGN), TIMES)


@given(FOLDERS, TIMES, st.dictionaries(st.sampled_from(JOBS), TIMES))
def test_only_old_files_of_ended_jobs_are_deleted(changed_s, before_s, alive):
    tidied = tidy.old(changed_s, before_s, alive)
    job_of = {name: name.partition(".")[0].partition("_")[0] for name in changed_s if name in OF_JOBS}
    for name, time_s in changed_s.items():
        if name in FOREIGN:
            expected = False
        elif name in job_of:
            job = job_of[name]
            newest_s = max(changed_s[other] for other in job_of if job_of[other] == job)
            expected = newest_s < before_s and job not in alive
        else:
            needed = any(submitted_s <= time_s + tidy.EARLIER_S for submitted_s in alive.values())
            expected = time_s < before_s and not needed
        assert (name in tidied.files) == expected, name
    assert tidied.jobs + tidied.kept == len(set(job_of.values()))
