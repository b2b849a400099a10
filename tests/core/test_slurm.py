"""The pure part of following a batch job."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.slurm import end_record, patience, states
from cmpi._core.slurm.end_record import EndRecord


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_silence_and_its_end_are_reported_once_and_questions_become_rarer(answers):
    rhythm, now_s, told, pauses = patience.Patience(), 0.0, [], []
    for answered in answers:
        now_s = max(now_s, rhythm.due_s)
        said = rhythm.answered(now_s) if answered else rhythm.unanswered("down", now_s)
        told += [said] if said else []
        pauses.append(rhythm.due_s - now_s)
        assert rhythm.silent is not answered
        assert patience.POLL_S <= pauses[-1] <= patience.LONGEST_S
        assert answered or len(pauses) < 2 or pauses[-1] >= pauses[-2]
    changes = [a for a, before in zip(answers, [True, *answers]) if a != before]
    assert [text == "Slurm answers again" for text in told] == changes


@pytest.mark.parametrize(("signalled", "code"), [(False, 3), (True, 143)])
def test_the_record_that_the_shell_writes_is_parsed_with_its_output_sizes(tmp_path, signalled, code):
    (tmp_path / "7.out").write_bytes(b"x" * 12)
    (tmp_path / "7.err").touch()
    lines = [f"code={code}", *(["signalled=yes"] if signalled else []), *end_record.shell("7")]
    subprocess.run(["bash", "-c", "\n".join(lines)], cwd=tmp_path, check=True)
    record = end_record.parse((tmp_path / "7.code").read_text())
    assert record == EndRecord(code, {1: 12, 2: 0}, signalled)
    assert not end_record.complete(record, {1: 11, 2: 0}) and end_record.complete(record, {1: 12, 2: 5})


def test_a_record_without_sizes_ends_the_output_and_half_a_record_is_ignored():
    assert end_record.parse("3\n") == EndRecord(3) and end_record.complete(EndRecord(3), {1: 0, 2: 0})
    assert end_record.parse("") == end_record.parse("no") is None


def test_only_the_complaint_about_an_unknown_job_counts_as_an_answer():
    assert states.unknown("slurm_load_jobs error: Invalid job id specified")
    assert not states.unknown("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")


def test_a_working_folder_may_have_spaces():
    text = "JobId=7 JobState=PENDING WorkDir=/home/a b StdErr=/x Power= ArrayJobId=7 "
    state = states.parse_job(text)
    assert (state.folder, state.array) == ("/home/a b", True)
