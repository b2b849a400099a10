import sys
import typing
from typing import Annotated, Any, Literal, Optional, TypeVar, Union

import numpy as np
import pytest
from numpy.typing import NDArray

from cmpi._core.channel.contract import Contract, Shape, describe, fits
from cmpi.errors import ContractMismatch, UsageError

IMAGE = Annotated[NDArray[np.uint8], Shape(480, 640)]


class Mine:
    pass


@pytest.mark.parametrize(
    "hint, good, bad",
    [
        (int, [1, True], ["1", 1.5, None]),
        (float, [1.5, 1], ["1"]),
        (str, ["x"], [b"x"]),
        (None, [None], [0]),
        (list[int], [[1], []], [(1,), ["a"]]),
        (list[float], [[1.5], [1]], [["a"]]),
        (dict[str, list[int]], [{"a": [1]}], [{"a": ["b"]}, {1: [1]}]),
        (tuple[int, str], [(1, "a")], [(1, 2), (1,)]),
        (dict, [{}], [[]]),
        (Optional[int], [None, 1], ["x"]),
        (Union[int, str], [1, "x"], [1.5]),
        (int | None, [None, 1], ["x"]),
        (Literal["a", "b"], ["a"], ["c"]),
        (Mine, [Mine()], [1]),
        (Any, [1, None, "x"], []),
        (NDArray[np.float64], [np.zeros(3)], [np.zeros(3, np.float32), [1.0], 1.0]),
        (IMAGE, [np.zeros((480, 640), np.uint8)], [np.zeros((480, 641), np.uint8), np.zeros((480, 640))]),
        (Annotated[NDArray[np.int64], Shape(None, 3)], [np.zeros((9, 3), int)], [np.zeros(3, int)]),
        (np.ndarray, [np.zeros(3), np.zeros(1, int)], [1.0]),
    ],
)
def test_values_of_the_type_pass_and_others_do_not(hint, good, bad):
    contract = Contract(hint)
    for value in good:
        assert contract.accepts(value)
    for value in bad:
        assert not contract.accepts(value)


def test_the_error_names_type_dtype_and_shape():
    with pytest.raises(ContractMismatch, match=r"NDArray\[float64\].*int64, shape \(2, 3\)"):
        Contract(NDArray[np.float64]).refuse(np.zeros((2, 3), np.int64))


def test_equal_types_have_equal_texts():
    assert describe(Optional[int]) == describe(int | None) == "int | None"
    assert describe(Mine) == f"{Mine.__module__}.Mine"
    assert describe(IMAGE) == "NDArray[uint8] of Shape(480, 640)"


def test_a_shape_is_made_of_sizes():
    with pytest.raises(UsageError, match=r"found -1"):
        Shape(-1)


def test_any_matches_every_type():
    assert fits("Any", "int") and fits("int", "Any") and fits("int", "int") and not fits("int", "str")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type` aliases are of Python 3.12")
def test_an_alias_equals_the_type_that_it_names():
    item = TypeVar("item")
    pair = typing.TypeAliasType("pair", tuple[item, item], type_params=(item,))
    image = typing.TypeAliasType("image", IMAGE)
    assert describe(pair[int]) == describe(tuple[int, int]) and describe(image) == describe(IMAGE)
    assert Contract(pair[int]).accepts((1, 2)) and not Contract(pair[int]).accepts((1, "2"))
    assert Contract(image).array and not Contract(image).accepts(np.zeros(3))
