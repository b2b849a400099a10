"""`Origins`: a process belongs to the cell that has spawned it or its nearest claimed ancestor."""

from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.origins import MOST_ENDED, Origins

NOTEBOOK = 0


@given(st.data())
def test_a_process_belongs_to_the_cell_of_its_ancestor_in_whichever_order_the_news_comes(data):
    n = data.draw(st.integers(1, 12))
    parents = {pid: data.draw(st.integers(NOTEBOOK, pid - 1)) for pid in range(1, n + 1)}
    cells = {pid: f"cell {pid}" for pid, parent in parents.items() if parent == NOTEBOOK}
    origins = Origins[str]()
    claims = data.draw(st.permutations(list(cells)))
    for pid, parent in parents.items():
        while claims and data.draw(st.booleans()):
            claimed = claims.pop()
            origins.claim([claimed], cells[claimed])
        origins.spawned(pid, parent)
    for claimed in claims:
        origins.claim([claimed], cells[claimed])
    for pid in parents:
        ancestor = pid
        while parents[ancestor] != NOTEBOOK:
            ancestor = parents[ancestor]
        assert origins.of(pid) == cells[ancestor]
    assert origins.of(NOTEBOOK) is None


def test_a_child_belongs_to_the_cell_that_claimed_its_parent_when_it_was_spawned():
    origins = Origins[str]()
    origins.claim([1], "first")
    origins.spawned(2, 1)
    origins.claim([1], "second")  # a rank that runs another cell
    origins.spawned(3, 1)
    assert (origins.of(2), origins.of(3)) == ("first", "second")


def test_processes_that_have_ended_are_forgotten_in_the_end():
    origins = Origins[str]()
    origins.claim([1], "cell")
    origins.spawned(2, NOTEBOOK)
    for pid in range(1, MOST_ENDED + 3):
        origins.ended(pid)
        assert origins.of(1) == ("cell" if pid <= MOST_ENDED else None)
    assert not origins._parents
