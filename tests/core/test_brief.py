"""A short text for any value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._base.brief import MOST_CHARACTERS, brief


class NoRepr:
    def __repr__(self):
        raise RuntimeError("no repr")


class Length(list):
    def __iter__(self):
        raise RuntimeError("no iteration")

    __len__ = None


def nested(depth):
    value = None
    for _ in range(depth):
        value = [value]
    return value


VALUES = [10**5000, -(10**5000), NoRepr(), [NoRepr()], {NoRepr(): 1}, Length(), range(10**9), "x" * 10**6,
    b"x" * 10**6, bytearray(10**6), list(range(10**6)), {tuple(range(10**5)): 1}, nested(3000)]  # fmt: skip


@pytest.mark.parametrize("i", range(len(VALUES)))  # pytest cannot show all of these itself
def test_every_value_has_a_short_text(i):
    text = brief(VALUES[i])
    assert text and len(text) <= MOST_CHARACTERS


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(), lambda x: st.lists(x) | st.tuples(x, x)
    )
)
def test_a_short_value_is_shown_as_it_is(value):
    text = brief(value)
    assert len(text) <= MOST_CHARACTERS
    if len(repr(value)) <= 15 and "..." not in text:
        assert text == repr(value)
