"""Objects to bytes and back: pickle where that serves, else cloudpickle, large buffers kept out of it.

Lambdas, closures, and functions and classes of `__main__` travel by value (see `by_value`), so the
receiving process needs no copy of the script; where it runs the script, what is of `__main__` goes by
name.
Buffers of `OUT_OF_BAND_BYTES` and more (numpy arrays, bytearrays inside PickleBuffer) are not copied into
the pickle but sent as they lie.

Source: PEP 574, "Pickle protocol 5 with out-of-band data".
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections import ChainMap

import cloudpickle

from cmpi._base.interrupts import came_from_handler
from cmpi._core.channel.unpicklable import path_to_unpicklable
from cmpi._transport import foreign, scripts
from cmpi._transport.by_value import Pickler
from cmpi.errors import NotPicklable, UsageError

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


def _plain_pickler(file: Any, buffer_callback: Any) -> Any:
    pickler: Any = pickle.Pickler(file, 5, buffer_callback=buffer_callback)
    if foreign.reducers:
        pickler.dispatch_table = ChainMap(foreign.reducers, copyreg.dispatch_table)
    return pickler


class _Kept:
    """A pickler that is used again: to make one each time took a tenth of the time of a small message.

    Not by two at once: who needs one takes it out of `_kept`, and another thread another.
    """

    def __init__(self) -> None:
        self.found: list[pickle.PickleBuffer] = []
        self._written = _Written()
        pickler = _plain_pickler(self._written, self.found.append)
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


def dumps(value: object, name: str = "value", by_name: bool = False) -> Message:
    """Pickle `value`. The buffers still belong to it: they must not change until they are sent.

    Args:
        name: What the caller calls the value.
        by_name: The receiver runs the script of this process's `__main__`, and finds there what is of it.

    Raises:
        NotPicklable: It cannot be; the message has the path to the culprit, from `name` on.

    Blocks: for the time of pickling.
    """
    views: list[memoryview] = []
    named = True
    try:
        kept = _take_kept()
        body = kept.pickle(value)
        if not kept.found and (_STACK_GLOBAL not in body or type(value) in _PLAIN):  # it names nothing
            return _message(body, views)
        views = [buffer.raw() for buffer in kept.found]
    except Exception as error:  # a lambda, a module, a class inside a function; or it cannot be pickled
        if came_from_handler(error):
            raise
        body, named = _MAIN, False
    if foreign.learn():
        _kept.clear()
        return dumps(value, name, by_name)
    named = named and by_name and scripts.own().is_home
    # What is of __main__ is written by name, and the other process may have another __main__.
    by_value = (_MAIN in body and not named) or bool(cloudpickle.list_registry_pickle_by_value())
    if not by_value and all(view.nbytes >= OUT_OF_BAND_BYTES and not view.readonly for view in views):
        return _message(body, views)
    ours = by_value or any(view.readonly for view in views)
    return _dumps_with_buffers(value, ours, name, by_name)


def _dumps_with_buffers(value: object, ours: bool, name: str, by_name: bool) -> Message:
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < OUT_OF_BAND_BYTES:
            return True  # into the pickle: a message of its own costs more than the copy
        buffers.append(view)
        return False

    file = io.BytesIO()
    try:
        (Pickler(file, keep, by_name) if ours else _plain_pickler(file, keep)).dump(value)
    except Exception as error:
        if came_from_handler(error):
            raise
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

    Raises:
        UsageError: It names something of `__main__` that this process has not defined.

    Raises whatever unpickling the person's own classes raises, too.
    """
    if body and body[0] == _ARRAY:
        from cmpi._transport import arrays

        return arrays.unpack(body, *buffers)
    try:
        if not body:
            return _of_pickle(buffers[0], buffers=buffers[1:])
        return _of_pickle(body, buffers=buffers) if buffers else _of_pickle(body)
    except AttributeError as error:
        if "'__main__'" not in str(error):
            raise
        raise UsageError(
            f"the message names something of the script that this rank does not have: {error}. Define it "
            "in every rank, before the first message and not under `if rank == ...`; or in a module."
        ) from error


def _fault(value: object) -> str | None:
    try:
        Pickler(io.BytesIO(), lambda buffer: False).dump(value)
    except Exception as error:
        if came_from_handler(error):
            raise
        try:
            return str(error) or type(error).__name__
        except Exception:
            return type(error).__name__
    return None
