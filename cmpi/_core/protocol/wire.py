"""Frames to bytes and back: a fixed binary layout, read without trusting the sender.

A frame is a length (4 bytes), a kind (1 byte) and its fields in order, little-endian. Fields
are described by a letter each:

    ?            a boolean, in one byte
    B H I Q d    unsigned integers of 1, 2, 4, 8 bytes; a double
    s y          text (UTF-8 with surrogateescape, so that any path travels); bytes
    S L          a list of texts; a list of Q

Ours rather than pickle, because these bytes are read before and while a peer is not yet
trusted, and by monitors that must stay small.
"""

from __future__ import annotations

import struct

from cmpi._base.frozen import frozen
from cmpi.errors import ProtocolError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    T = TypeVar("T")

MAX_FRAME_BYTES = 16 << 20  # far above any frame of ours (output comes in 1 MiB pieces)
_U32 = struct.Struct("<I")
_NUMBERS = {letter: struct.Struct("<" + letter) for letter in "?BHIQd"}
_kinds: dict[int, type] = {}


if TYPE_CHECKING:
    from typing_extensions import dataclass_transform

    @dataclass_transform(frozen_default=True)
    def frame(kind: int, layout: str) -> Callable[[type[T]], type[T]]: ...

else:

    def frame(kind, layout):
        """Class decorator: a record that travels as `kind` with fields laid out as `layout`."""

        def make(cls):
            cls = frozen(cls)
            assert kind not in _kinds and len(layout) == len(cls.__match_args__), cls
            cls.KIND, cls.LAYOUT = kind, layout
            _kinds[kind] = cls
            return cls

        return make


def encode(message: Any) -> bytes:
    """The bytes of one frame in a stream: its length, then the frame itself. Blocks: never.

    Raises:
        UsageError: The frame is longer than the receiver would take.
    """
    parts = _parts(message)
    length = sum(map(len, parts))
    if length > MAX_FRAME_BYTES:
        raise UsageError(
            f"a {type(message).__name__} request of {length >> 20} MiB; at most {MAX_FRAME_BYTES >> 20} "
            "MiB can be sent to the root. Environment variables, sys.argv, sys.path and names are part of "
            "it: make the largest of them smaller, or send it over a channel."
        )
    return b"".join((_U32.pack(length), *parts))


def encode_bare(message: Any) -> bytes:
    """The bytes of one frame where something else keeps its length, as MPI does. Blocks: never."""
    return b"".join(_parts(message))


def _parts(message: Any) -> list[bytes]:
    parts = [bytes((message.KIND,))]
    for name, letter in zip(message.__match_args__, message.LAYOUT):
        value = message.__dict__[name]
        if letter in _NUMBERS:
            parts.append(_NUMBERS[letter].pack(value))
        elif letter == "y":
            parts += (_U32.pack(len(value)), value)
        elif letter == "s":
            data = value.encode("utf-8", "surrogateescape")
            parts += (_U32.pack(len(data)), data)
        elif letter == "S":
            parts.append(_U32.pack(len(value)))
            for item in value:
                data = item.encode("utf-8", "surrogateescape")
                parts += (_U32.pack(len(data)), data)
        else:
            parts.append(struct.pack(f"<I{len(value)}Q", len(value), *value))
    return parts


def decode(data: bytes | memoryview) -> Any:
    """The frame in `data`, which `encode_bare` made.

    Raises:
        ProtocolError: Anything but one whole, known frame.

    Blocks: never.
    """
    try:
        cls = _kinds[data[0]]
        values, at = [], 1
        for letter in cls.LAYOUT:  # type: ignore[attr-defined]
            value, at = _read(data, at, letter)
            values.append(value)
    except (KeyError, IndexError, struct.error, UnicodeDecodeError) as error:
        raise ProtocolError(f"unreadable frame of {len(data)} bytes: {error!r}") from None
    if at != len(data):
        raise ProtocolError(f"{cls.__name__} of {len(data)} bytes where {at} were expected")
    return cls(*values)


def _read(data: bytes | memoryview, at: int, letter: str) -> tuple[Any, int]:
    if letter in _NUMBERS:
        number = _NUMBERS[letter]
        return number.unpack_from(data, at)[0], at + number.size
    (count,) = _U32.unpack_from(data, at)
    at += 4
    if letter == "L":
        return list(struct.unpack_from(f"<{count}Q", data, at)), at + 8 * count
    if letter == "S":
        if count > len(data):  # a list of that many texts cannot be in here
            raise struct.error("list too long")
        texts = []
        for _ in range(count):
            text, at = _read(data, at, "s")
            texts.append(text)
        return texts, at
    if at + count > len(data):
        raise struct.error("field beyond the end")
    piece = bytes(data[at : at + count])
    return (piece if letter == "y" else piece.decode("utf-8", "surrogateescape")), at + count


class Decoder:
    """Frames out of a byte stream that may be cut anywhere. One thread at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The frames that `data` completes.

        Raises:
            ProtocolError: The stream is not ours; the decoder is of no use any more.

        Blocks: never.
        """
        self._buffer += data
        start, end = 0, len(self._buffer)
        frames = []
        view = memoryview(self._buffer)
        try:
            while end - start >= 4:
                (length,) = _U32.unpack_from(view, start)
                if not 1 <= length <= MAX_FRAME_BYTES:
                    raise ProtocolError(f"a frame of {length} bytes; 1 to {MAX_FRAME_BYTES} are allowed")
                if end - start < 4 + length:
                    break
                frames.append(decode(view[start + 4 : start + 4 + length]))
                start += 4 + length
        except ProtocolError:
            self._buffer = bytearray()  # not cut short: the error's traceback looks into it
            raise
        view.release()
        del self._buffer[:start]
        return iter(frames)
