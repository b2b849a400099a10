from typing import Any, Literal, Optional, Union

import numpy as np
import pytest
from numpy.typing import NDArray

from cmpi._core.contract import Contract, describe, fits
from cmpi.errors import ContractMismatch


class Mine:
    pass


@pytest.mark.parametrize(
    "hint, good, bad",
    [
        (int, [1, True], ["1", 1.5, None]),
        (float, [1.5, 1], ["1"]),
        (str, ["x"], [b"x"]),
        (None, [None], [0]),
        (list[int], [[1]], [(1,)]),
        (dict, [{}], [[]]),
        (Optional[int], [None, 1], ["x"]),
        (Union[int, str], [1, "x"], [1.5]),
        (int | None, [None, 1], ["x"]),
        (Literal["a", "b"], ["a"], ["c"]),
        (Mine, [Mine()], [1]),
        (Any, [1, None, "x"], []),
        (NDArray[np.float64], [np.zeros(3)], [np.zeros(3, np.float32), [1.0], 1.0]),
        (np.ndarray, [np.zeros(3), np.zeros(1, int)], [1.0]),
    ],
)
def test_values_of_the_type_pass_and_others_do_not(hint, good, bad):
    contract = Contract(hint)
    for value in good:
        contract.check(value)
    for value in bad:
        with pytest.raises(ContractMismatch):
            contract.check(value)


def test_the_complaint_names_type_dtype_and_shape():
    with pytest.raises(ContractMismatch, match=r"NDArray\[float64\].*int64, shape \(2, 3\)"):
        Contract(NDArray[np.float64]).check(np.zeros((2, 3), np.int64))


def test_texts_are_the_same_for_the_same_type():
    assert describe(Optional[int]) == describe(int | None) == "int | None"
    assert describe(Mine) == f"{Mine.__module__}.Mine"


def test_any_fits_to_everything():
    assert fits("Any", "int") and fits("int", "Any") and fits("int", "int") and not fits("int", "str")
