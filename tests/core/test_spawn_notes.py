from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.output.spawn_notes import FOLD_S, MOST_KINDS, SpawnNotes
from cmpi._core.output.speaker import Speaker


def speaker(pid, name="work"):
    return Speaker(pid, 0, "h", None, name, f"{name} · {pid:07x}", name)


ROOT = speaker(0, "rank 0")


@given(st.lists(st.sampled_from([0.0, 0.01, 0.3]), max_size=300))
def test_the_number_of_notes_grows_as_the_logarithm_of_the_spawns(gaps):
    notes, now, taken = SpawnNotes(), 0.0, []
    for i, gap in enumerate(gaps):
        now += gap
        if (due := notes.deadline_s()) is not None and due <= now:
            taken += notes.take()
        notes.add(ROOT, speaker(i + 1), now)
    assert len(taken) <= 12


def test_few_spawns_are_named_and_many_are_counted():
    notes = SpawnNotes()
    for i in range(3):
        notes.add(ROOT, speaker(i), 0.0)
    for i in range(10, 60):
        notes.add(ROOT, speaker(i, "load"), 0.0)
    ((parent, text),) = notes.take()
    assert parent is ROOT and text == "work · 0000000, work · 0000001, work · 0000002, 50 load"


def test_notes_of_many_spawning_processes_are_folded():
    notes = SpawnNotes()
    for i in range(20):
        notes.add(speaker(i), speaker(100 + i, "child"), 0.0)
    taken = notes.take()
    assert len(taken) == MOST_KINDS and taken[-1][1] == "17 child (by this process and 16 more)"


def test_the_first_spawn_note_precedes_the_processs_output():
    notes = SpawnNotes()
    notes.add(ROOT, speaker(1), 0.0)
    assert notes.awaits(1) and not notes.awaits(2) and notes.deadline_s() == FOLD_S
    notes.take()
    notes.add(ROOT, speaker(2), 0.0)
    assert not notes.awaits(2) and notes.deadline_s() == 2 * FOLD_S
