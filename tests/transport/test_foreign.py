"""Tensors and data frames travel as numpy arrays do: large buffers stay outside the pickle."""

import numpy as np
import pytest

from cmpi._transport import foreign, pickling

LARGE = 100_000


def there_and_back(value):
    """Pickle and unpickle a value; return it, and how many bytes were inside the pickle."""
    message = pickling.dumps(value)
    if isinstance(message, bytes):
        return pickling.loads(message), len(message)
    buffers = [bytearray(buffer) for buffer in message.buffers]
    return pickling.loads(message.body, buffers), len(message.body)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_a_large_tensor_lies_outside_of_the_pickle(torch):
    tensor = torch.arange(LARGE, dtype=torch.float64)
    for value in (tensor, tensor.bfloat16(), tensor > 5, tensor.reshape(10, -1), tensor[1:-1]):
        back, inside = there_and_back({"x": value})
        assert torch.equal(back["x"], value) and back["x"].dtype == value.dtype and inside < 1000
        back["x"][0] = 1  # it belongs to the receiver


def test_tensors_of_all_kinds_arrive_as_they_are(torch):
    plain = torch.arange(12.0).reshape(3, 4)
    parameter = torch.nn.Parameter(plain.clone())
    for value in (plain, plain.T, torch.tensor(5), torch.zeros(0, 3), plain.to(torch.complex64).conj(),
                  plain.clone().requires_grad_(), parameter, plain[:, 1:2], plain.to_sparse()):  # fmt: skip
        back, _ = there_and_back(value)
        assert type(back) is type(value) and back.requires_grad == value.requires_grad
        assert back.layout == value.layout and torch.equal(back.to_dense(), value.to_dense())
    module = torch.nn.Linear(4, 3)
    back, _ = there_and_back(module)
    assert torch.equal(back(plain), module(plain))
    back, _ = there_and_back([plain, plain])
    assert back[0] is back[1]


def test_polars_frames_lie_outside_of_the_pickle():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {"x": np.arange(LARGE), "s": ["a", None] * (LARGE // 2), "l": [[1], []] * (LARGE // 2)}
    )
    back, inside = there_and_back(frame)
    assert back.equals(frame) and back.schema == frame.schema and inside < 1000
    series = frame["x"].alias("other")
    back, inside = there_and_back(series)
    assert back.equals(series) and back.name == "other" and inside < 1000


def test_pandas_and_arrow_lie_outside_of_the_pickle():
    pandas = pytest.importorskip("pandas")
    arrow = pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"x": np.arange(LARGE), "y": np.ones(LARGE)})
    back, inside = there_and_back(frame)
    assert back.equals(frame) and inside < 5000
    back.loc[0, "x"] = 5
    table = arrow.table({"x": np.arange(LARGE)})
    back, inside = there_and_back(table)
    assert back.equals(table) and inside < 5000


def test_libraries_that_are_not_imported_are_not_searched(monkeypatch):
    monkeypatch.setattr(foreign, "_unknown", {"no_such_library": lambda module: 1 / 0})
    assert not foreign.learn()
