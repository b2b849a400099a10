"""The laws of sinks: rows in one state, or in two that are merged, give the same result."""

import functools
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmpi import data
from cmpi._core.data.stable_hash import stable_hash

few = settings(max_examples=settings.default.max_examples // 4)
rows_of_pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), max_size=12)


class Longest(data.Sink):
    """A sink as the documentation shows it."""

    def init(self):
        return ()

    def add(self, state, row):
        return max(state, row, key=len)

    def merge(self, state, other):
        return max(state, other, key=len)


def first(row):
    return row[0]


SINKS = [
    data.count(), data.sum(1), data.mean(1), data.stddev(0), data.stddev(1, ddof=0), data.min(1),
    data.max(first), data.min_by_key(1), data.max_by_key(first), data.max_by(lambda a, b: a[1] - b[1]),
    data.min_by(lambda a, b: a[0] - b[0]), data.sort_n_by(3, 1), data.sort_n_by(2, 0, largest=False),
    data.first(), data.fold(int, lambda a, row: a + row[1], lambda a, b: a + b),
    data.combine(lambda a, b: a + b), data.all(first), data.any(first), data.for_each(first),
    data.histogram(1), data.histogram(1, edges=[-5, 0, 5]), data.most_frequent(9, 0),
    data.count_distinct(1), data.most_distinct(9), data.collect(), data.collect(set), data.collect(dict),
    data.group_by(0, into=data.sum()), data.group_by(into=data.count()),
    data.fork(data.count(), data.fork(data.sum(0), data.collect(tuple))),
    data.filter(first) | data.map(first) | data.sum(), Longest(),
]  # fmt: skip


@pytest.mark.parametrize("sink", SINKS, ids=[f"{type(sink).__name__}-{n}" for n, sink in enumerate(SINKS)])
@few
@given(rows_of_pairs, rows_of_pairs, rows_of_pairs)
def test_merging_states_of_parts_gives_the_state_of_the_whole(sink, a, b, c):
    def state(rows):
        return pickle.loads(pickle.dumps(functools.reduce(sink.add, rows, sink.init())))

    def result(state):
        found = sink.finish(state)
        return pytest.approx(found, abs=1e-9) if isinstance(found, float) else found

    whole = result(state(a + b + c))
    assert sink.finish(sink.add_all(sink.init(), iter(a + b + c))) == whole
    assert sink.finish(sink.add_all(sink.add_all(sink.init(), a), b + c)) == whole
    assert sink.finish(sink.merge(sink.merge(state(a), state(b)), state(c))) == whole
    assert sink.finish(sink.merge(state(a), sink.merge(state(b), state(c)))) == whole
    assert sink.finish(sink.merge(sink.init(), state(a + b + c))) == whole
    assert sink.finish(sink.merge(state(a + b + c), sink.init())) == whole
    states = {}
    by_key = data.group_by(into=sink).init()
    sink.add_by_key(by_key, a + b, first, lambda row: row)
    for row in a + b:
        states[row[0]] = sink.add(states[row[0]] if row[0] in states else sink.init(), row)
    found = {key: result(state) for key, state in by_key.items()}
    assert found == {key: sink.finish(state) for key, state in states.items()}


@few
@given(st.lists(st.one_of(st.none(), st.integers(-9, 9))))
def test_none_is_a_missing_value(values):
    there = [value for value in values if value is not None]
    stream, full = (data.of(each, pool=data.Serial()) for each in (values, there))
    for sink in (data.sum(), data.mean(), data.stddev(), data.min(), data.max(), data.histogram()):
        assert stream.pipe(sink) == full.pipe(sink)


def test_merged_samples_of_parts_are_a_sample_of_the_whole():
    sink = data.sample(5)
    parts = [sink.add_all(sink.init(), range(i, i + 10)) for i in range(0, 50, 10)]
    assert sorted(functools.reduce(sink.merge, parts)) == sorted(
        sorted(each for part in parts for each in part)[:5]
    )


@few
@given(st.lists(st.one_of(st.integers(0, 300), st.text(max_size=2)), max_size=400))
def test_the_estimated_number_of_distinct_values_is_close(values):
    pytest.importorskip("datasketches")
    stream = data.of(values, pool=data.Serial())
    assert stream.count_distinct(error=0.01) == pytest.approx(len(set(values)), rel=0.1, abs=1)
    most = stream.map(lambda x: ("all", x)).most_distinct(1, error=0.01)
    assert [k for k, _ in most] == (["all"] if values else [])


def test_an_estimate_without_the_library_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasketches", None)
    with pytest.raises(data.MissingExtra, match="pip install datasketches"):
        data.count_distinct(error=0.1)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'cmpi\[data\]'"):
        data.parquet("x.parquet")


def test_sinks_have_a_readable_repr():
    assert str(data.fork(data.count(), data.mean("ms"))) == "fork(count, mean(ms))"
    assert str(data.filter(first) | data.collect()) == "filter first | collect(list)"
    assert stable_hash("a") == 3904355907
