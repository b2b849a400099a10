"""Sends values of other libraries like numpy arrays: tensors of torch, data frames of polars.

Libraries that support out-of-band pickling themselves (numpy, pandas, pyarrow) need nothing here. This
module never imports a library; it only handles those that the program has imported.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

reducers: dict[type, Callable[[Any], Any]] = {}  # by the exact type


def learn() -> bool:
    """Look for newly imported libraries; True if `reducers` has grown."""
    grown = False
    for name in [name for name in _unknown if name in sys.modules]:
        try:
            _unknown[name](sys.modules[name])
        except AttributeError:
            continue  # it is being imported just now
        del _unknown[name]
        grown = True
    return grown


# -- torch -------------------------------------------------------------------------------------------


def _learn_torch(torch: Any) -> None:
    reducers[torch.Tensor] = _reduce_tensor


def _reduce_tensor(tensor: Any) -> Any:
    import torch

    plain = (
        tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg() or tensor.__dict__)
        and (tensor.is_leaf or not tensor.requires_grad)
        and not tensor._backward_hooks
    )
    if not plain or not tensor.numel():
        return tensor.__reduce_ex__(5)
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return _tensor, (flat.numpy(), tensor.dtype, tuple(tensor.shape), tensor.requires_grad)


def _tensor(memory: Any, dtype: Any, shape: tuple[int, ...], requires_grad: bool) -> Any:
    import torch

    return torch.frombuffer(memory, dtype=dtype).reshape(shape).requires_grad_(requires_grad)


# -- polars ------------------------------------------------------------------------------------------


def _learn_polars(polars: Any) -> None:
    reducers[polars.DataFrame] = _reduce_frame
    reducers[polars.Series] = _reduce_series


def _reduce_frame(frame: Any) -> Any:
    import io
    import pickle

    file = io.BytesIO()
    frame.write_ipc_stream(file, compression="uncompressed")
    return _frame, (pickle.PickleBuffer(file.getbuffer()),)


def _frame(data: Any) -> Any:
    import io

    import polars

    return polars.read_ipc_stream(io.BytesIO(data))


def _reduce_series(series: Any) -> Any:
    return _series, (series.to_frame(),)


def _series(frame: Any) -> Any:
    return frame.to_series()


_unknown: dict[str, Callable[[Any], None]] = {"torch": _learn_torch, "polars": _learn_polars}
