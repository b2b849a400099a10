"""Objects to bytes and back: cloudpickle, with large buffers kept out of the pickle.

Functions and classes of `__main__`, lambdas and closures travel by value, so the receiving
process needs no copy of the script. Buffers of `OUT_OF_BAND_BYTES` and more (numpy arrays,
bytearrays inside PickleBuffer) are not copied into the pickle but sent as they lie.

Source: PEP 574, "Pickle protocol 5 with out-of-band data".
"""

from __future__ import annotations

import io
import pickle

import cloudpickle

from cmpi._core.culprit import path_to_culprit
from cmpi.errors import NotPicklable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

OUT_OF_BAND_BYTES = 65536
# Types whose pickle needs nothing of cloudpickle, and which hold nothing that would.
_PLAIN = frozenset((int, float, complex, bool, str, bytes, bytearray, type(None)))


class Pickled:
    """A pickle in `body`, or if that is large as the first of `buffers`; then its buffers."""

    __slots__ = ("body", "buffers", "in_transit", "inline", "nbytes")

    def __init__(self, body: bytes, buffers: list[memoryview]) -> None:
        self.inline = len(body) < OUT_OF_BAND_BYTES
        self.body = body if self.inline else b""
        self.buffers = buffers if self.inline else [memoryview(body), *buffers]
        self.nbytes = len(body) + sum(view.nbytes for view in buffers)
        self.in_transit = False  # MPI is reading from the buffers

    def again(self) -> Pickled:
        """The same message, to be sent once more."""
        copy: Pickled = object.__new__(Pickled)
        copy.inline, copy.body, copy.buffers = self.inline, self.body, self.buffers
        copy.nbytes, copy.in_transit = self.nbytes, False
        return copy

    @property
    def sizes(self) -> list[int]:
        """Bytes of each buffer."""
        return [view.nbytes for view in self.buffers]


def dumps(value: object, name: str = "value") -> Pickled:
    """Pickle `value`. The buffers still belong to it: they must not change until they are sent.

    Raises:
        NotPicklable: It cannot be; the message has the path to the culprit, from `name` on.

    Blocks: for the time of pickling.
    """
    if type(value) in _PLAIN:
        return Pickled(pickle.dumps(value, 5), [])
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < OUT_OF_BAND_BYTES:
            return True  # into the pickle: a message of its own costs more than the copy
        buffers.append(view)
        return False

    file = io.BytesIO()
    try:
        cloudpickle.Pickler(file, 5, keep).dump(value)
    except Exception as error:
        raise NotPicklable(path_to_culprit(name, value, _fault)) from error
    return Pickled(file.getvalue(), buffers)


def loads(body: bytes, buffers: Sequence[Any], inline: bool) -> Any:
    """The object again; its arrays lie in `buffers`, without a copy.

    Raises whatever unpickling the person's own classes raises.
    """
    if inline:
        return pickle.loads(body, buffers=buffers)
    return pickle.loads(buffers[0], buffers=buffers[1:])


def _fault(value: object) -> str | None:
    try:
        cloudpickle.Pickler(io.BytesIO(), 5, lambda buffer: False).dump(value)
    except Exception as error:
        return str(error) or type(error).__name__
    return None
