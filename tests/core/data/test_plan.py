"""Plans: how they are shown, and how the optimiser changes them."""

import itertools
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.data import plan
from cmpi._core.data.expressions import Expression, col
from cmpi._core.data.optimise import optimise
from cmpi._core.data.plan import Apply, Chain, GroupBy, Sort, Source, Take, explain
from cmpi._core.data.records import make_record, record_type
from cmpi._core.data.splits import byte_ranges, chunk_sizes, even_ranges, groups_by_size
from cmpi._core.data.steps import Filter, Limit, Map, Select, Steps


@dataclass(frozen=True)
class Rows:
    name: str = "rows"

    def splits(self):
        return []

    def describe(self):
        return self.name


@dataclass(frozen=True)
class Columns(Rows):
    columns: tuple = ()
    conditions: tuple = ()

    def select(self, names):
        return replace(self, columns=names)

    def where(self, condition):
        return replace(self, conditions=(*self.conditions, repr(condition)))


class Counting:
    def __str__(self):
        return "count"


def steps(*all):
    return Steps(all)


def test_neighbouring_steps_are_one_pipeline():
    one, two, three = Map(len), Filter(bool), Map(str)
    node = plan.apply(plan.apply(plan.apply(Source(Rows()), one), two), three)
    assert optimise(node) == Apply(Source(Rows()), steps(one, two, three))
    chained = Chain((node, Source(Rows("others"))))
    assert optimise(plan.apply(chained, one)) == Apply(
        Chain((Apply(Source(Rows()), steps(one, two, three)), Source(Rows("others")))), steps(one)
    )


def test_columns_and_conditions_go_down_into_a_columnar_source_up_to_the_first_function():
    cheap = col("ms") > 100
    wanted, condition, function = Select(("url", "ms")), Filter(cheap), Map(len)
    node = Apply(Source(Columns()), steps(condition, wanted, function, condition))
    assert optimise(node) == Apply(
        Source(Columns(columns=("url", "ms"), conditions=("(ms > 100)",))), steps(function, condition)
    )
    assert optimise(Apply(Source(Columns()), steps(wanted))) == Source(Columns(columns=("url", "ms")))
    assert optimise(Apply(Source(Rows()), steps(wanted))) == Apply(Source(Rows()), steps(wanted))


def test_take_limits_each_split_too_and_groups_are_combined_first():
    assert optimise(Take(Source(Rows()), 3)) == Take(Apply(Source(Rows()), steps(Limit(3))), 3)
    sink = Counting()
    node = Sort(GroupBy(Source(Rows()), 0, None, sink), None, False)
    assert optimise(node) == Sort(GroupBy(Source(Rows()), 0, None, sink, combine=True), None, False)
    assert optimise(optimise(Take(Source(Rows()), 3))) == optimise(Take(Source(Rows()), 3))


def test_a_plan_shows_each_node_above_its_sources():
    left = plan.apply(Source(Rows("left")), Map(len))
    node = Take(plan.Join(left, plan.Enumerate(Source(Rows("right")), 0), True), 5)
    assert explain(node).splitlines() == [
        "take 5",
        "└─ left_join: shuffle both",
        "   └─ map len",
        "      └─ left",
        "   └─ enumerate from 0",
        "      └─ right",
    ]
    grouped = optimise(GroupBy(Source(Rows()), "url", None, Counting()))
    assert str(grouped) == "group_by url into count: combine in each split, then shuffle"


@given(st.integers(0, 10**6), st.integers(5000, 10**5))
def test_byte_ranges_cover_a_file_once_in_sizes_that_are_even(nbytes, split_bytes):
    ranges = byte_ranges(nbytes, split_bytes)
    assert [begin for begin, _ in ranges[1:]] == [end for _, end in ranges[:-1]]
    assert sum(end - begin for begin, end in ranges) == nbytes
    sizes = [end - begin for begin, end in ranges]
    assert not sizes or (0 < max(sizes) <= split_bytes and max(sizes) - min(sizes) <= 1)
    assert [end - begin for begin, end in even_ranges(nbytes, 64)].count(0) == 0


@given(st.lists(st.integers(0, 9)), st.integers(1, 20))
def test_groups_by_size_are_adjacent_files_within_the_limit(sizes, limit):
    groups = groups_by_size(sizes, limit)
    assert [i for begin, end in groups for i in range(begin, end)] == list(range(len(sizes)))
    assert all(end - begin == 1 or sum(sizes[begin:end]) <= limit for begin, end in groups)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=7), st.integers(9, 20))
def test_groups_by_size_are_as_few_and_as_even_as_can_be(sizes, limit):
    groups = groups_by_size(sizes, limit)
    largest = max(sum(sizes[begin:end]) for begin, end in groups)
    for n in range(1, len(groups) + 1):
        for cuts in itertools.combinations(range(1, len(sizes)), n - 1):
            ranges = zip((0, *cuts), (*cuts, len(sizes)))
            assert max(sum(sizes[begin:end]) for begin, end in ranges) >= (
                largest if n == len(groups) else limit + 1
            )


def test_an_iterators_chunks_grow_from_one_row():
    sizes = [size for size, _ in zip(chunk_sizes(), range(200))]
    assert sizes[0] == 1 and sizes == sorted(sizes) and sizes[-1] == 4096


def test_records_are_tuples_with_names_that_can_be_pickled():
    import pickle

    record = make_record(("url", "a b", "class"), ("/", 1, 2))
    assert record == ("/", 1, 2) and (record.url, record._1, record._2) == record
    assert pickle.loads(pickle.dumps([record] * 3)) == [record] * 3
    assert type(pickle.loads(pickle.dumps(record))) is record_type(("url", "a b", "class"))


values = st.one_of(st.none(), st.integers(-2, 2))
comparisons = st.builds(
    lambda name, op, value: getattr(col(name), op)(value),
    st.sampled_from("ab"),
    st.sampled_from(["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"]),
    st.integers(-2, 2),
)
conditions = st.recursive(
    comparisons, lambda c: st.builds(lambda x, y: x & y, c, c) | st.builds(lambda x, y: x | ~y, c, c)
)


@given(conditions, values, values)
def test_an_expression_gives_the_same_result_for_rows_as_for_columns(condition, a, b):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.compute as pc

    assert condition.columns() <= {"a", "b"} and isinstance(condition, Expression)
    table = pa.table({"a": pa.array([a], pa.int64()), "b": pa.array([b], pa.int64())})
    found = table.filter(condition.arrow(pc.field)).num_rows == 1
    assert bool(condition({"a": a, "b": b})) == found
    assert bool(condition(record_type(("a", "b"))(a, b))) == found


def test_expressions_have_a_readable_repr_and_refuse_and_and_or():
    condition = (col("ms") * 2 + 1 > col("limit")) & ~(col("url") == "/")
    assert repr(condition) == "((((ms * 2) + 1) > limit) & ~(url == '/'))"
    with pytest.raises(TypeError, match="no truth value"):
        bool(col("a") > 1)
