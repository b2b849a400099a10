"""Each operator of a stream against plain Python, on random rows, with and without spills."""

import collections
import functools
import gc
import itertools
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmpi import data
from cmpi.errors import UsageError

few = settings(max_examples=settings.default.max_examples // 4)
numbers = st.lists(st.integers(-20, 20), max_size=60)
pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30)
memories = st.sampled_from([1, 5000, "64 MiB"])  # everything is spilled, some is, nothing is


def of(rows, **options):
    return data.of(rows, pool=data.Serial()).options(**options)


TO_ROWS = {"polars": "to_dicts", "arrow": "to_pylist"}


def double(x):
    return 2 * x


@few
@given(numbers)
def test_steps_behave_like_pythons_own_functions(rows):
    seen = []
    stream = of(rows).map(double).filter(lambda x: x % 3).inspect(seen.append)
    expected = [x for x in map(double, rows) if x % 3]
    assert stream.collect() == expected == list(stream)[: len(expected)]
    assert seen[: len(expected)] == expected
    assert of(rows).flat_map(lambda x: range(x % 3)).collect() == [y for x in rows for y in range(x % 3)]
    assert of([[x] for x in rows]).update(lambda x: x.append(1)).collect() == [[x, 1] for x in rows]


@few
@given(numbers, numbers)
def test_chain_take_and_enumerate_keep_the_order(a, b):
    both = of(a).map(double).chain(of(b), of(a))
    expected = [2 * x for x in a] + b + a
    assert both.collect() == expected
    assert both.enumerate(3).collect() == list(enumerate(expected, 3))
    for n in (0, 1, len(a), len(a) + 1, 1000):
        assert both.take(n).collect() == expected[:n]
        assert both.take(n).map(double).take(2).collect() == [2 * x for x in expected[:n][:2]]


@few
@given(numbers, numbers, st.integers(1, 7), st.integers(1, 4))
def test_zip_window_and_repartition_number_rows_over_all_splits(a, b, n, step):
    stream = of(a).map(double).chain(of(b))
    rows = [2 * x for x in a] + b
    assert stream.zip(of(b).chain(of(a))).collect() == list(zip(rows, b + a))
    assert of(a).zip(stream.filter(lambda x: x % 3)).collect() == list(zip(a, (x for x in rows if x % 3)))
    windows = [tuple(rows[i : i + n]) for i in range(0, len(rows) - n + 1, step)]
    assert stream.window(n, step).collect() == windows
    assert stream.repartition(n).collect() == rows
    splits = stream.repartition(n).batch(1000).collect()  # batches do not extend beyond the end of a split
    assert len(splits) == min(n, len(rows)) and len({len(split) for split in splits} - {0}) <= 2


@few
@given(numbers, st.integers(1, 5))
def test_batches_are_full_but_for_the_last_of_a_split(rows, n):
    batches = of(rows).batch(n).collect()
    assert [x for batch in batches for x in batch] == rows
    assert all(0 < len(batch) <= n for batch in batches)
    assert of(iter(rows)).batch(n).collect(list) is not None


def test_an_endless_iterator_is_read_as_far_as_it_is_needed():
    assert of(itertools.count()).map(double).take(5000).count() == 5000
    read = []
    stream = of(map(read.append, itertools.count())).take(3)
    assert stream.count() == 3 and len(read) < 100


@few
@given(numbers)
def test_reductions_equal_pythons(rows):
    stream = of(rows)
    assert stream.count() == len(rows) and stream.sum() == sum(rows)
    assert stream.min() == min(rows, default=None) and stream.max() == max(rows, default=None)
    assert stream.mean() == (pytest.approx(statistics.mean(rows)) if rows else None)
    for ddof, function in ((1, statistics.stdev), (0, statistics.pstdev)):
        expected = pytest.approx(function(rows), abs=1e-9) if len(rows) > ddof else None
        assert stream.stddev(ddof=ddof) == expected
    assert stream.all(lambda x: x > -5) == all(x > -5 for x in rows)
    assert stream.any(lambda x: x > 5) == any(x > 5 for x in rows)
    assert stream.fold(int, lambda a, b: a + b) == sum(rows)
    assert stream.combine(math.gcd) == (functools.reduce(math.gcd, rows) if rows else None)
    assert stream.histogram() == sorted(collections.Counter(rows).items())
    assert stream.histogram(edges=[-10, 0, 5, 10]) == [
        sum(-10 <= x < 0 for x in rows),
        sum(0 <= x < 5 for x in rows),
        sum(5 <= x <= 10 for x in rows),
    ]
    assert stream.most_frequent(3) == collections.Counter(rows).most_common(3)
    assert stream.count_distinct() == len(set(rows))
    if rows:
        assert stream.map(str).reduce(lambda a, b: a + b) == "".join(map(str, rows))
    else:
        with pytest.raises(TypeError, match="without rows"):
            stream.reduce(lambda a, b: a)


@few
@given(pairs, st.integers(0, 6))
def test_the_first_of_equal_rows_is_chosen(rows, n):
    stream = of(list(enumerate(rows)))

    def key(row):
        return row[1][0]

    every = list(enumerate(rows))
    assert stream.sort_n_by(n, key) == sorted(every, key=key, reverse=True)[:n]
    assert stream.sort_n_by(n, key, largest=False) == sorted(every, key=key)[:n]
    assert stream.max_by_key(key) == max(every, key=key, default=None)
    assert stream.min_by_key(key) == min(every, key=key, default=None)
    assert stream.max_by(lambda a, b: key(a) - key(b)) == max(every, key=key, default=None)
    assert stream.min_by(lambda a, b: key(a) - key(b)) == min(every, key=key, default=None)
    distinct = collections.defaultdict(set)
    for k, v in rows:
        distinct[k].add(v)
    counts = dict(of(rows).most_distinct(10))
    assert counts == {k: len(v) for k, v in distinct.items()}


@few
@given(pairs)
def test_collect_makes_each_container(rows):
    stream = of(rows)
    for into in (list, set, frozenset, tuple, collections.deque, dict, collections.Counter):
        assert stream.collect(into) == into(rows)
    assert of([str(row) for row in rows]).collect(str) == "".join(map(str, rows))
    assert stream.collect("numpy").tolist() == [list(row) for row in rows]


@few
@given(pairs, memories)
def test_group_by_has_each_key_once_with_all_its_rows_in_order(rows, memory):
    expected = {}
    for k, v in rows:
        expected.setdefault(k, []).append(v)
    grouped = of(rows, memory=memory).group_by(key=0, into=data.collect(list)).collect()
    assert len(grouped) == len(expected) and dict(grouped) == expected
    sums = of(rows, memory=memory, partitions=1).group_by(lambda row: row[1], value=0, into=data.sum())
    by_value = collections.Counter()
    for k, v in rows:
        by_value[v] += k
    assert sums.collect(dict) == {v: by_value[v] for _, v in rows}


@few
@given(st.lists(st.one_of(st.integers(0, 3), st.floats(0, 3), st.text(max_size=2), st.none())), memories)
def test_distinct_has_each_row_once_where_equal_is_what_python_says(rows, memory):
    found = of(rows, memory=memory).distinct().collect()
    assert len(found) == len(set(rows)) and set(found) == set(rows)


@few
@given(pairs, pairs, memories)
def test_joins_have_all_pairs_of_partners(left, right, memory):
    inner = [(k, (x, y)) for k, x in left for q, y in right if k == q]
    lonely = [(k, (x, None)) for k, x in left if k not in dict(right)]
    one, other = of(left, memory=memory), of(right)
    assert sorted(one.inner_join(other).collect()) == sorted(inner)
    found = one.left_join(other).collect()
    assert collections.Counter(found) == collections.Counter(inner + lonely)


@few
@given(pairs, st.booleans(), memories)
def test_sort_equals_pythons_stable_sort(rows, reverse, memory):
    numbered = list(enumerate(rows))
    stream = of(numbered, memory=memory).sort(lambda row: row[1][0], reverse=reverse)
    assert stream.collect() == sorted(numbered, key=lambda row: row[1][0], reverse=reverse)


def test_a_sort_of_many_parts_is_in_order_over_all_of_them(monkeypatch):
    monkeypatch.setattr("cmpi.data.execution.sorting.PART_BYTES", 10_000)
    rows = [(i * 7919) % 10007 for i in range(50_000)]
    for reverse in (False, True):
        assert of(rows, memory="64 KiB").sort(reverse=reverse).collect() == sorted(rows, reverse=reverse)


def test_more_groups_than_memory_are_divided_again_and_again():
    rows = range(30_000)
    grouped = of(rows, memory="16 KiB", partitions=2).group_by(into=data.count())
    assert grouped.map(lambda pair: pair[1]).fork(data.count(), data.sum()) == (30_000, 30_000)
    one_key = of(rows, memory="16 KiB").group_by(lambda x: x % 2, into=data.sum())
    assert one_key.collect(dict) == {0: sum(rows[::2]), 1: sum(rows[1::2])}
    partners = of(rows).map(lambda x: (x, x)).options(memory="16 KiB", partitions=2)
    assert partners.inner_join(partners).count() == 30_000


def test_a_heavy_key_is_shuffled_as_one_state_per_split():
    merged = []

    def merge(a, b):
        merged.append((a, b))
        return a + b

    rows = [("heavy" if i % 10 else i, 1) for i in range(10_000)]  # 90 % on one key
    grouped = of(rows).group_by(0, into=data.fold(int, lambda total, x: total + x, merge))
    assert grouped.max_by_key(1) == ("heavy", 9000)
    assert len(merged) == 63  # of 64 splits; each other key occurs once


@few
@given(numbers, st.integers(0, 70))
def test_a_sample_contains_rows_of_the_stream_and_depends_on_its_seed(rows, n):
    rows = list(enumerate(rows))
    found = of(rows).sample(n, seed=1)
    assert len(found) == min(n, len(rows)) and set(found) <= set(rows) and found == sorted(found)
    assert found == of(rows).sample(n, seed=1)


def test_every_row_is_as_probable_in_a_sample_as_any_other():
    counts = collections.Counter()
    for seed in range(2000):
        counts.update(of(range(8)).sample(2, seed=seed))
    assert all(400 < counts[i] < 600 for i in range(8)), counts


@few
@given(pairs)
def test_forks_nest_and_pipes_go_before_sinks(rows):
    found = of(rows).fork(
        data.count(),
        data.filter(lambda row: row[0] > 2) | data.map(lambda row: row[1]) | data.collect(list),
        data.fork(data.count(), data.map(lambda row: row[0]) | data.max()),
        data.group_by(0, into=data.fork(data.count(), data.sum())),
        data.flat_map(lambda row: row) | data.sum(),
    )
    groups = collections.defaultdict(list)
    for k, v in rows:
        groups[k].append(v)
    assert found == (
        len(rows),
        [v for k, v in rows if k > 2],
        (len(rows), max((k for k, _ in rows), default=None)),
        {k: (len(v), sum(v)) for k, v in groups.items()},
        sum(map(sum, rows)),
    )


@few
@given(numbers)
def test_map_batches_gives_each_format_and_takes_each_back(rows):
    np = pytest.importorskip("numpy")
    assert of(rows).map_batches(lambda a: a * 2, format="numpy").collect() == [2 * x for x in rows]
    assert of(rows).map_batches(lambda a: a[::-1], format="list", n=1).collect() == rows
    pytest.importorskip("pyarrow")
    records = of(rows).map(lambda x: {"x": x})
    found = records.map_batches(lambda table: table.append_column("y", table["x"]), n=7).collect()
    assert [(row.x, row.y) for row in found] == [(x, x) for x in rows]
    assert np.array(records.map_batches(lambda t: t["x"]).collect()).tolist() == rows


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_tables_of_each_library_are_made_and_taken_back(library):
    pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow" if library == "arrow" else library)
    records = of(range(20)).map(lambda x: {"x": x, "y": str(x)})
    table = records.collect(library)
    rows = table.to_dict("records") if library == "pandas" else getattr(table, TO_ROWS[library])()
    assert rows == records.collect()
    again = (
        records.map_batches(lambda table: table[["y", "x"]], format=library, n=3)
        if library != "arrow"
        else (records.map_batches(lambda table: table.select(["y", "x"]), n=3))
    )
    assert again.collect() == [(str(x), x) for x in range(20)]
    with pytest.raises(data.BadRow, match="a table needs records or dicts; found int"):
        of([1]).map_batches(len, format=library).collect()


def test_for_each_calls_the_function_with_each_row():
    seen = []
    assert of(range(100)).for_each(seen.append) is None
    assert seen == list(range(100))


def test_senseless_steps_are_refused_when_the_stream_is_built():
    stream = of([1])
    for wrong in (
        lambda: stream.options(on_error="ignore"),
        lambda: stream.batch(0),
        lambda: stream.take(-1),
        lambda: stream.select(),
        lambda: stream.map_batches(len, format="excel"),
        lambda: stream.options(memory=0),
        lambda: data.of("text"),
        lambda: data.text("x", encoding="utf-16"),
        lambda: data.text("x", encoding="nonsense"),
        lambda: data.csv("x", delimiter=";;"),
        lambda: data.text("x", split_bytes=1),
    ):
        with pytest.raises(UsageError):
            wrong()
    for wrong in (
        lambda: stream.group_by(0, into=sum),
        lambda: stream.group_by(1.5, into=data.count()),
        lambda: stream.pipe(len),
        lambda: stream.fork(len),
        lambda: stream.chain([2]),
        lambda: stream.collect("excel"),
    ):
        with pytest.raises(TypeError):
            wrong()


Row = collections.namedtuple("Row", ["a", "b", "x"])
rows_with_gaps = st.lists(
    st.builds(Row, st.none() | st.integers(0, 3), st.sampled_from(["", "p", None]), st.integers(0, 9)),
    max_size=20,
)


def joined(left, right, on, outer):
    """The join of records on pairs of columns, as sorted tuples."""
    found = []
    rest = [name for name in Row._fields if name not in on.values()]
    for row in left:
        partners = [
            other
            for other in right
            if all(getattr(row, a) == getattr(other, b) is not None for a, b in on.items())
        ]
        found += [(*row, *(getattr(other, name) for name in rest)) for other in partners]
        if outer and not partners:
            found.append((*row, *(None for _ in rest)))
    return sorted(found, key=repr)


@few
@given(rows_with_gaps, rows_with_gaps, memories, st.sampled_from(["a", ("a", "b"), {"x": "a"}]))
def test_joins_on_columns_have_all_partners_and_a_missing_key_has_none(left, right, memory, on):
    equal = on if isinstance(on, dict) else dict(zip(on, on))
    options = {"memory": memory, "partitions": 3}
    first = of(left, **options)
    for others in (right, [row._asdict() for row in right]):
        second = of(others).chain(of(others[:3]))
        both = first.inner_join(second, on=on).collect()
        every = right + right[:3]
        assert sorted(map(tuple, both), key=repr) == joined(left, every, equal, outer=False)
        if both:
            rest = (name for name in Row._fields if name not in equal.values())
            assert both[0]._fields == (*Row._fields, *(f"{name}_right" for name in rest))
        if right:
            both = first.left_join(second, on=on).collect()
            assert sorted(map(tuple, both), key=repr) == joined(left, every, equal, outer=True)
    assert sorted(map(tuple, first.left_join(of([]), on=on)), key=repr) == sorted(
        map(tuple, left), key=repr
    )


def test_joins_on_columns_name_rows_and_columns_that_cannot_be_joined():
    rows = of([Row(1, 2, 3), Row(1, 2, 4)])
    with pytest.raises(data.BadRow, match="needs records or dicts; found a int: 3"):
        rows.inner_join(of([3]), on="a").count()
    with pytest.raises(data.BadRow, match="no attribute 'other'"):
        rows.inner_join(rows, on={"a": "other"}).count()
    with pytest.raises(data.BadRow, match="two columns 'x_right': leave one out"):
        rows.map(lambda row: {"a": 1, "x": 1, "x_right": 2}).inner_join(rows, on="a").collect()
    for on in (3, (), ("a", 3), {"a": 3}):
        with pytest.raises((UsageError, TypeError), match=r"on must be|not iterable"):
            rows.inner_join(rows, on=on)
    found, errors = (
        rows.chain(of([{"a": 1}, None])).options(on_error="collect").inner_join(rows, on="a").collect()
    )
    assert len(found) == 6 and "NoneType" in str(errors[0])


def test_rows_are_grouped_by_several_columns():
    rows = of([Row(1, "p", 3), Row(1, "q", 4), {"a": 1, "b": "p", "x": 5}])
    assert rows.group_by(("a", "b"), into=data.sum("x")).collect(dict) == {(1, "p"): 8, (1, "q"): 4}
    assert rows.group_by(("a",), into=data.sum("x")).collect() == [(1, 12)]
    assert "group_by a, b into" in rows.group_by(("a", "b"), into=data.count()).explain()
    assert "inner_join on a = x, b: shuffle" in rows.inner_join(rows, on={"a": "x", "b": "b"}).explain()
    with pytest.raises(TypeError, match="several names or None; found \\(\\)"):
        rows.group_by((), into=data.count())


def test_a_join_of_rows_that_are_not_pairs_is_refused():
    with pytest.raises(data.BadRow, match=r"pairs \(key, value\); found a int: 7"):
        of([7]).inner_join(of([(1, 2)])).collect()


def test_nothing_is_left_on_disk(tmp_path):
    def fails(row):
        raise ValueError("no")

    spilling = of(range(3000), memory=1, spill_folder=str(tmp_path)).sort().map(lambda x: (x, "x" * 100))
    grouped = spilling.group_by(0, into=data.count())
    assert grouped.count() == 3000
    with pytest.raises(data.BadRow):
        grouped.map(fails).collect()
    for _ in grouped:
        break
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_process_that_was_killed_is_removed_by_the_next_job(tmp_path):
    stale = tmp_path / "cmpi-data-abc"
    stale.mkdir()
    (stale / "lock").touch()
    (stale / "block").touch()
    (tmp_path / "cmpi-data-no-lock").mkdir()
    assert of([2, 1], spill_folder=str(tmp_path)).sort().collect() == [1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["cmpi-data-no-lock"]


def test_persisted_rows_are_computed_once_and_removed_with_the_last_stream(tmp_path):
    made = []
    kept = of(range(100)).inspect(made.append).options(spill_folder=str(tmp_path)).persist()
    doubled = kept.map(double)
    assert kept.sum() == 4950 and doubled.sum() == 9900 and sorted(made) == list(range(100))
    assert kept.explain().startswith("100 rows on disk")
    del kept
    assert doubled.map(str).count() == 100
    del doubled
    gc.collect()
    assert not list(tmp_path.iterdir())
