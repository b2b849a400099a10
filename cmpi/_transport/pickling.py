"""Objects to bytes and back: pickle where that serves, else cloudpickle, large buffers kept out of it.

Functions and classes of `__main__`, lambdas and closures travel by value, so the receiving
process needs no copy of the script. Buffers of `OUT_OF_BAND_BYTES` and more (numpy arrays,
bytearrays inside PickleBuffer) are not copied into the pickle but sent as they lie.

Source: PEP 574, "Pickle protocol 5 with out-of-band data".
"""

from __future__ import annotations

import io
import pickle

import cloudpickle

from cmpi._core.channel.unpicklable import path_to_unpicklable
from cmpi._transport.by_value import Pickler
from cmpi.errors import NotPicklable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final, TypeAlias

    from cmpi._transport.segment import Block

OUT_OF_BAND_BYTES: Final = 65536
KEPT_BYTES: Final = 256  # of a pickle, after which the pickler is used again
_of_pickle: Final = pickle.loads  # found faster so
# Types whose pickle needs nothing of cloudpickle, and which hold nothing that would.
_PLAIN: Final = frozenset((int, float, complex, bool, str, bytes, bytearray, type(None)))
_MAIN: Final = b"__main__"
_STACK_GLOBAL: Final = 0x93  # the opcode of every name; a number is found ten times as fast as a word
_ARRAY: Final = 0x93  # `arrays.MARK`; importing that imports numpy


class Large:
    """A message with buffers: a head in `body`, which if it is large too is the first of them."""

    __slots__ = ("body", "buffers", "in_transit", "nbytes", "places")

    def __init__(self, body: bytes, buffers: list[Any]) -> None:
        inline = len(body) < OUT_OF_BAND_BYTES
        self.body = body if inline else b""
        self.buffers = buffers if inline else [memoryview(body), *buffers]
        self.nbytes = len(self.body) + sum(self.sizes)
        self.places: Sequence[Block | None] = [None] * len(self.buffers)  # where the buffers lie
        self.in_transit = False  # MPI is reading from the buffers

    def again(self) -> Large:
        """The same message, to be sent once more."""
        return Large(self.body, self.buffers)

    def settle(self, places: Sequence[Block | None]) -> None:
        """Copy the buffers that have a place there. Blocks: for that."""
        for buffer, place in zip(self.buffers, places):
            if place is not None:
                place.fill(buffer)
        self.places = places

    @property
    def sizes(self) -> list[int]:
        """Bytes of each buffer."""
        return [buffer.nbytes for buffer in self.buffers]

    def __len__(self) -> int:
        return self.nbytes


if TYPE_CHECKING:
    Message: TypeAlias = bytes | Large  # bytes: all that there is, and less than OUT_OF_BAND_BYTES


def in_transit(message: Message) -> bool:
    """Whether MPI is reading from it."""
    return isinstance(message, Large) and message.in_transit


class _Written:
    """What a pickler writes to: nearly always all at once."""

    def __init__(self) -> None:
        self.first = b""
        self.rest: list[bytes] = []

    def write(self, data: bytes) -> None:
        if self.first:
            self.rest.append(data)
        else:
            self.first = data


class _Kept:
    """A pickler that is used again: to make one each time took a tenth of the time of a small message.

    Not by two at once: who needs one takes it out of `_kept`, and another thread another.
    """

    def __init__(self) -> None:
        self.found: list[pickle.PickleBuffer] = []
        self._written = _Written()
        pickler = pickle.Pickler(self._written, 5, buffer_callback=self.found.append)
        self._dump, self._clear_memo = pickler.dump, pickler.clear_memo

    def pickle(self, value: object) -> bytes:
        """The pickle, but for the buffers in `found`."""
        written = self._written
        self._dump(value)
        body = written.first
        if written.rest or self.found or len(body) > KEPT_BYTES:
            return b"".join((body, *written.rest))
        written.first = b""
        self._clear_memo()  # which takes the longer the more was ever in it
        _kept.append(self)
        return body


_kept: Final[list[_Kept]] = []


def _take_kept() -> _Kept:
    try:
        return _kept.pop()
    except IndexError:
        return _Kept()


def dumps(value: object, name: str = "value") -> Message:
    """Pickle `value`. The buffers still belong to it: they must not change until they are sent.

    Raises:
        NotPicklable: It cannot be; the message has the path to the culprit, from `name` on.

    Blocks: for the time of pickling.
    """
    views: list[memoryview] = []
    try:
        kept = _take_kept()
        body = kept.pickle(value)
        if not kept.found and (_STACK_GLOBAL not in body or type(value) in _PLAIN):  # it names nothing
            return _message(body, views)
        views = [buffer.raw() for buffer in kept.found]
    except Exception:  # a lambda, a module, a class inside a function, and what cannot be pickled at all
        body = _MAIN
    # What is of __main__ is written by name, and the other process has another __main__.
    by_value = _MAIN in body or cloudpickle.list_registry_pickle_by_value()
    if not by_value and all(view.nbytes >= OUT_OF_BAND_BYTES for view in views):
        return _message(body, views)
    return _dumps_with_buffers(value, Pickler if by_value else pickle.Pickler, name)


def _dumps_with_buffers(value: object, pickler: Any, name: str) -> Message:
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < OUT_OF_BAND_BYTES:
            return True  # into the pickle: a message of its own costs more than the copy
        buffers.append(view)
        return False

    file = io.BytesIO()
    try:
        pickler(file, 5, buffer_callback=keep).dump(value)
    except Exception as error:
        raise NotPicklable(path_to_unpicklable(name, value, _fault)) from error
    return _message(file.getvalue(), buffers)


def _message(body: bytes, buffers: list[memoryview]) -> Message:
    return body if not buffers and len(body) < OUT_OF_BAND_BYTES else Large(body, buffers)


def dumps_array(value: Any) -> Message:
    """As `dumps`, for a numpy array, which if it can be travels without pickle."""
    from cmpi._transport import arrays

    if not arrays.plain(value):
        return dumps(value)
    head, array = arrays.pack(value)
    if array.nbytes < OUT_OF_BAND_BYTES:
        return head + array.tobytes("A")
    return Large(head, [array.ravel("A").view("u1").data])


def loads(body: bytes, buffers: Sequence[Any] = ()) -> Any:
    """The object again; its arrays lie in `buffers`, without a copy.

    Raises whatever unpickling the person's own classes raises.
    """
    if not body:
        return _of_pickle(buffers[0], buffers=buffers[1:])
    if body[0] == _ARRAY:
        from cmpi._transport import arrays

        return arrays.unpack(body, *buffers)
    return _of_pickle(body, buffers=buffers) if buffers else _of_pickle(body)


def _fault(value: object) -> str | None:
    try:
        Pickler(io.BytesIO(), 5, buffer_callback=lambda buffer: False).dump(value)
    except Exception as error:
        return str(error) or type(error).__name__
    return None
