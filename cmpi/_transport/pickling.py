"""Converts objects to bytes and back: with pickle if possible, else with cloudpickle; large buffers stay
outside.

Lambdas, closures, and functions and classes of `__main__` are sent by value (see `by_value`), so the
receiving process needs no copy of the script. If it runs the same script, definitions of `__main__` are
sent by name.
Buffers of `OUT_OF_BAND_BYTES` and more (numpy arrays, bytearrays inside PickleBuffer) are not copied into
the pickle but sent directly.

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
KEPT_BYTES: Final = 256  # a pickler is reused only after a pickle of at most this size
_of_pickle: Final = pickle.loads  # a global name is found faster
# Types that plain pickle can handle, with everything that they can contain.
_PLAIN: Final = frozenset((int, float, complex, bool, str, bytes, bytearray, type(None)))
_MAIN: Final = b"__main__"
# The opcode before every global name; searching for a number is ten times as fast as for a bytes object.
_STACK_GLOBAL: Final = 0x93
_ARRAY: Final = 0x93  # `arrays.MARK`; importing `arrays` would import numpy


class Large:
    """A message with buffers. Its head is in `body`, or in the first buffer if it is large."""

    __slots__ = ("body", "buffers", "in_transit", "nbytes", "places")

    def __init__(self, body: bytes, buffers: list[Any]) -> None:
        inline = len(body) < OUT_OF_BAND_BYTES
        self.body = body if inline else b""
        self.buffers = buffers if inline else [memoryview(body), *buffers]
        self.nbytes = len(self.body) + sum(self.sizes)
        self.places: Sequence[Block | None] = [None] * len(self.buffers)  # where the buffers lie
        self.in_transit = False  # whether MPI is reading from the buffers

    def again(self) -> Large:
        """A copy of the message, to be sent again."""
        return Large(self.body, self.buffers)

    def settle(self, places: Sequence[Block | None]) -> None:
        """Copy the buffers that have places in shared memory there. Blocks: for the copies."""
        for buffer, place in zip(self.buffers, places):
            if place is not None:
                place.fill(buffer)
        self.places = places

    @property
    def sizes(self) -> list[int]:
        """The length of each buffer in bytes."""
        return [buffer.nbytes for buffer in self.buffers]

    def __len__(self) -> int:
        return self.nbytes


if TYPE_CHECKING:
    Message: TypeAlias = bytes | Large  # bytes: the whole message, below OUT_OF_BAND_BYTES


def in_transit(message: Message) -> bool:
    """Whether MPI is reading from the message."""
    return isinstance(message, Large) and message.in_transit


class _Written:
    """The output of a pickler, which nearly always writes only once."""

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
    """A reusable pickler: creating a new one took a tenth of the time of a small message.

    Two threads never share one: a thread takes it out of `_kept` while it uses it.
    """

    def __init__(self) -> None:
        self.found: list[pickle.PickleBuffer] = []
        self._written = _Written()
        pickler = _plain_pickler(self._written, self.found.append)
        self._dump, self._clear_memo = pickler.dump, pickler.clear_memo

    def pickle(self, value: object) -> bytes:
        """The pickle, without the buffers in `found`."""
        written = self._written
        self._dump(value)
        body = written.first
        if written.rest or self.found or len(body) > KEPT_BYTES:
            return b"".join((body, *written.rest))
        written.first = b""
        self._clear_memo()  # takes longer the more the memo has ever held
        _kept.append(self)
        return body


_kept: Final[list[_Kept]] = []


def _take_kept() -> _Kept:
    try:
        return _kept.pop()
    except IndexError:
        return _Kept()


def dumps(value: object, name: str = "value", by_name: bool = False) -> Message:
    """Pickle `value`. The buffers still belong to it, so they must not change until they are sent.

    Args:
        value: The value.
        name: The name of the value, for error messages.
        by_name: Whether the receiver runs the script of this process's `__main__`, so that definitions of
            that can be sent by name.

    Raises:
        NotPicklable: It cannot be pickled; the message shows the path from `name` to the part at fault.

    Blocks: while it pickles.
    """
    views: list[memoryview] = []
    named = True
    try:
        kept = _take_kept()
        body = kept.pickle(value)
        # It contains no global name.
        if not kept.found and (_STACK_GLOBAL not in body or type(value) in _PLAIN):
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
    # pickle writes definitions of __main__ by name, but the other process may have another __main__.
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
            return True  # keep it in the pickle: sending it separately costs more than copying
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
    """As `dumps`, for a numpy array, which is sent without pickle if possible."""
    from cmpi._transport import arrays

    if not arrays.plain(value):
        return dumps(value)
    head, array = arrays.pack(value)
    if array.nbytes < OUT_OF_BAND_BYTES:
        return head + array.tobytes("A")
    return Large(head, [array.ravel("A").view("u1").data])


def loads(body: bytes, buffers: Sequence[Any] = ()) -> Any:
    """Unpickle an object; its arrays lie in `buffers`, without a copy.

    Raises:
        UsageError: It refers to a definition of `__main__` that this process lacks.
        Exception: Whatever the unpickling of the user's own classes raises.
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
            f"the message refers to a definition of the script that this rank lacks: {error}. Define it "
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
