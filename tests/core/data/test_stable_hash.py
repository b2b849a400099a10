import dataclasses
import datetime
import decimal
import enum
import fractions
import subprocess
import sys
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.data.stable_hash import BITS, partition, partitions_of, stable_hash

UTC = datetime.timezone.utc
EAST = datetime.timezone(datetime.timedelta(hours=2))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
    st.decimals(allow_nan=False), st.fractions(), st.dates(), st.datetimes(), st.timedeltas(), st.uuids(),
)  # fmt: skip
keys = st.one_of(scalars, st.tuples(scalars, scalars), st.frozensets(scalars, max_size=3))


@given(keys)
def test_a_hash_has_32_bits_and_divides_into_any_number_of_partitions(key):
    assert 0 <= stable_hash(key) < 1 << BITS
    assert all(0 <= partition(key, n, level) < n for n in (1, 7, 32) for level in range(4))


class Shape(enum.Enum):
    ROUND = 1


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    pass


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int


@pytest.mark.parametrize(
    "equal",
    [
        (1, 1.0, True, np.int64(1), np.float32(1), decimal.Decimal(1), fractions.Fraction(1), Number.ONE),
        ("a", Text("a"), np.str_("a")),
        (b"a", memoryview(b"a")),
        (0.0, -0.0),
        ((1, "a"), (1.0, Text("a"))),
        (Point(1, 2), Point(1, 2)),
        (frozenset("abc"), frozenset("cba")),
        (datetime.datetime(2024, 1, 1, 10, tzinfo=UTC), datetime.datetime(2024, 1, 1, 12, tzinfo=EAST)),
        (uuid.UUID(int=5), uuid.UUID(int=5)),
    ],
)
def test_equal_keys_have_equal_hashes_whatever_their_types(equal):
    assert all(each == equal[0] for each in equal)
    assert len({stable_hash(each) for each in equal}) == 1


def test_the_stable_hash_is_the_same_in_every_process():
    code = (
        "import datetime, uuid; from cmpi._core.data.stable_hash import stable_hash as h; print(h(('a', 1, "
        "2.5, None, b'x', frozenset('abc'), datetime.date(2024, 1, 1), uuid.UUID(int=3))))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(found) == 1


texts = st.text() | st.sampled_from(["\ud800", "a\udfff"])


@given(st.lists(texts) | st.lists(texts | keys), st.integers(1, 40), st.integers(0, 2))
def test_hashing_many_keys_at_once_equals_hashing_each(many, partitions, level):
    expected = [partition(key, partitions, level) for key in many]
    assert partitions_of(many, partitions, level) == expected


def test_keys_are_spread_over_the_partitions_also_of_the_next_level():
    for names in ([f"user{i}" for i in range(3200)], range(3200), range(0, 320_000, 100)):
        for level in (0, 1):
            counts = [0] * 32
            for name in names:
                counts[partition(name, 32, level)] += 1
            assert min(counts) > 50 and max(counts) < 160
        of_one = [name for name in names if partition(name, 32, 0) == 3]
        assert len({partition(name, 16, 1) for name in of_one}) > 8


@pytest.mark.parametrize("wrong", [[1], {}, object(), datetime.time(1, tzinfo=EAST)])
def test_an_unhashable_key_is_refused(wrong):
    with pytest.raises(TypeError, match="key"):
        stable_hash(wrong)
