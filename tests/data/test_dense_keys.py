"""Groups and partners that are found by an array of places, compared with those that Arrow finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pa = pytest.importorskip("pyarrow")
compute = pytest.importorskip("pyarrow.compute")
from cmpi.data import dense_keys  # noqa: E402

ASKED = [("", "count_all"), ("v", "count"), ("v", "sum"), ("f", "sum"), ("v", "sum")]
ENDS = {
    "int8": (-128, 127),
    "int64": (-(2**63), 2**63 - 1),
    "uint16": (0, 2**16 - 1),
    "uint64": (0, 2**64 - 1),
}
kinds = st.sampled_from(sorted(ENDS))


@st.composite
def integers(draw, kind, n):
    """`n` integers of a type, close together or at its ends."""
    low, high = ENDS[kind]
    near = st.integers(max(low, -60), min(high, 60))
    values = draw(st.sampled_from([near, st.integers(low, low + 9), st.integers(high - 9, high)]))
    return pa.array(draw(st.lists(values, min_size=n, max_size=n)), kind)


@st.composite
def tables(draw):
    n = draw(st.integers(1, 300))
    key, v = (draw(integers(draw(kinds), n)) for _ in "kv")
    f = draw(st.lists(st.integers(-99, 99), min_size=n, max_size=n))
    table = pa.table({"k": key, "v": v, "f": pa.array(f, draw(st.sampled_from(["float32", "float64"])))})
    at = draw(st.integers(0, n))
    return pa.concat_tables([table.slice(0, at), table.slice(at)])


@given(tables(), st.sampled_from([1, 7, 1 << 16]))
def test_groups_are_those_of_arrow(table, piece):
    asked = list(dict.fromkeys(ASKED))
    before, dense_keys.PIECE = dense_keys.PIECE, piece
    try:
        found = dense_keys.aggregate(table, ["k"], asked)
    finally:
        dense_keys.PIECE = before
    arrow = table.group_by(["k"], use_threads=False).aggregate([(name or [], f) for name, f in asked])
    if found is not None:
        assert found.equals(arrow.sort_by("k"))


def test_close_keys_are_grouped_without_arrow_and_others_left_to_it():
    n = 1000
    keys = pa.array([i % 100 - 5 for i in range(n)], "int8")
    close = pa.table({"k": keys, "v": range(n), "t": ["x"] * n})
    assert len(dense_keys.aggregate(close, ["k"], [("v", "sum")])) == 100
    assert dense_keys.aggregate(close, ["k"], [("t", "count")])["t_count"].to_pylist() == [10] * 100
    far = close.set_column(0, "k", pa.array([i << 30 for i in range(n)]))
    none = close.set_column(0, "k", pa.array([None, *range(n - 1)]))
    large = close.set_column(1, "v", pa.array([1 << 50] * n))
    gaps = close.set_column(1, "v", pa.array([None, *range(n - 1)]))
    for table, keys, asked in (
        (far, ["k"], [("v", "sum")]),
        (none, ["k"], [("v", "sum")]),
        (large, ["k"], [("v", "sum")]),
        (gaps, ["k"], [("v", "sum")]),
        (close, ["k"], [("v", "max")]),
        (close, ["t"], [("v", "sum")]),
        (close, ["k", "v"], [("", "count_all")]),
        (close, [], [("v", "sum")]),
        (close.slice(0, 0), ["k"], [("v", "sum")]),
    ):
        assert dense_keys.aggregate(table, keys, asked) is None


@given(st.data(), kinds)
def test_partners_are_those_of_arrow(drawn, kind):
    partners = compute.unique(drawn.draw(integers(kind, drawn.draw(st.integers(0, 50)))))
    keys = drawn.draw(integers(kind, drawn.draw(st.integers(0, 50)))).to_pylist()
    at = drawn.draw(st.integers(0, len(keys)))
    keys = pa.chunked_array([keys[:at], [None] * drawn.draw(st.integers(0, 2)), keys[at:]], kind)
    find = dense_keys.partner_finder(partners, 1 << 20)
    if find is not None:
        assert find(keys).equals(compute.index_in(keys, value_set=partners).combine_chunks())


def test_partners_that_cannot_be_in_an_array_of_places_are_left_to_arrow():
    close = pa.array(range(50, 100))
    assert dense_keys.partner_finder(close, 200) is not None
    assert dense_keys.partner_finder(close, 199) is None
    for partners in ([1, 2, 1], [0, 1 << 40], [-(2**63), 2**63 - 1], ["a"], [1.5], []):
        assert dense_keys.partner_finder(pa.array(partners), 1 << 20) is None
    assert dense_keys.partner_finder(pa.array([1 << 63], "uint64"), 1 << 20) is None
