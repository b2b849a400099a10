"""Frames to bytes and back: a fixed binary layout, read without trusting the sender.

A frame is a class whose annotated fields are its layout; it travels as a length (4 bytes), its number
(1 byte) and its fields in order, little-endian:

    bool                     one byte
    U8 U16 U32 U64 float     unsigned integers of 1, 2, 4 and 8 bytes; a double
    str bytes                4 bytes of length, then the bytes (UTF-8 with surrogateescape, for any path)
    list[str] list[U64]      4 bytes of count, then the items

There is one module for each pair of communicating processes. It defines the frames, and for each of the two
a registry, from number to class, of what it may receive. A frame that is not in the receiver's registry is
a `ProtocolError`, as is anything else that cannot be read.

Pickle was rejected because these bytes are read before a peer is trusted, and by monitors, which must stay
small.
"""

from __future__ import annotations

import struct

from cmpi._base.frozen import frozen
from cmpi.errors import ProtocolError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, TypeAlias, TypeVar

    from typing_extensions import dataclass_transform

    T = TypeVar("T")
    U8: TypeAlias = int
    U16: TypeAlias = int
    U32: TypeAlias = int
    U64: TypeAlias = int
    Registry: TypeAlias = "Mapping[int, type[Any]]"
else:
    U8 = U16 = U32 = U64 = int

MAX_FRAME_BYTES = 16 << 20  # far above any of our frames (output comes in 1 MiB pieces)
_LETTERS = {
    "bool": "?",
    "U8": "B",
    "U16": "H",
    "U32": "I",
    "U64": "Q",
    "float": "d",
    "str": "s",
    "bytes": "y",
    "list[str]": "S",
    "list[U64]": "L",
}
_U32 = struct.Struct("<I")
_NUMBERS = {letter: struct.Struct("<" + letter) for letter in "?BHIQd"}


if TYPE_CHECKING:

    @dataclass_transform(frozen_default=True)
    def frame(cls: type[T]) -> type[T]: ...

    @dataclass_transform(frozen_default=True, kw_only_default=True)
    def keyword_frame(cls: type[T]) -> type[T]: ...

else:

    def frame(cls):
        """Class decorator: a record that can be sent, whose annotated fields are its layout."""
        cls = frozen(cls)
        cls.NUMBER = None
        cls.LAYOUT = "".join(_LETTERS[cls.__annotations__[name]] for name in cls.__match_args__)
        return cls

    def keyword_frame(cls):
        """Like `frame`, for a record with so many fields that each must be passed by name."""
        cls = frame(cls)
        by_position = cls.__init__

        def __init__(self, **fields):
            by_position(self, **fields)

        cls.__init__ = __init__
        return cls


def registry(classes: dict[int, type[Any]]) -> Registry:
    """The frames that one end of a connection may receive, by number; a frame has the same number in all
    registries."""
    for number, cls in classes.items():
        known = cls.NUMBER
        assert known in (None, number), f"{cls.__name__} is frame {known}, not {number}"
        cls.NUMBER = number
    return classes


def handler(handlers: Mapping[type[Any], Callable[..., T]], frame: object) -> Callable[..., T]:
    """Return the handler for this frame.

    Raises:
        ProtocolError: There is none: the sender may not send such a frame, or not now.
    """
    found = handlers.get(type(frame))
    if found is None:
        expected = ", ".join(sorted(cls.__name__ for cls in handlers))
        raise ProtocolError(f"{type(frame).__name__} came where one of these is expected: {expected}")
    return found


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
    """The bytes of one frame without its length, for transports such as MPI that keep the length
    themselves. Blocks: never."""
    return b"".join(_parts(message))


def _parts(message: Any) -> list[bytes]:
    parts = [bytes((message.NUMBER,))]
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


def decode(data: bytes | memoryview, expected: Registry) -> Any:
    """Return the frame in `data`, which `encode_bare` made.

    Args:
        data: The frame without its length.
        expected: The registry of the receiver.

    Raises:
        ProtocolError: `data` is not exactly one frame of that registry.

    Blocks: never.
    """
    try:
        cls = expected[data[0]]
        values, at = [], 1
        for letter in cls.LAYOUT:
            value, at = _read(data, at, letter)
            values.append(value)
    except KeyError:
        names = ", ".join(cls.__name__ for cls in expected.values())
        raise ProtocolError(f"frame {data[0]} came where one of these is expected: {names}") from None
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ProtocolError(f"unreadable frame of {len(data)} bytes: {error!r}") from None
    if at != len(data):
        raise ProtocolError(f"{cls.__name__} of {len(data)} bytes where {at} were expected")
    made = object.__new__(cls)
    made.__dict__.update(zip(cls.__match_args__, values))
    return made


def _read(data: bytes | memoryview, at: int, letter: str) -> tuple[Any, int]:
    if letter in _NUMBERS:
        number = _NUMBERS[letter]
        return number.unpack_from(data, at)[0], at + number.size
    (count,) = _U32.unpack_from(data, at)
    at += 4
    if letter == "L":
        return list(struct.unpack_from(f"<{count}Q", data, at)), at + 8 * count
    if letter == "S":
        if count > len(data):  # they cannot all be in here
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
    """Decodes frames from a byte stream that may be cut anywhere. Not thread-safe.

    Args:
        expected: The registry of what this stream may carry.
    """

    def __init__(self, expected: Registry) -> None:
        self._expected = expected
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Return the frames that `data` completes.

        Raises:
            ProtocolError: The stream is not cmpi's; the decoder is of no use any more.

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
                frames.append(decode(view[start + 4 : start + 4 + length], self._expected))
                start += 4 + length
        except ProtocolError:
            self._buffer = bytearray()  # replaced, not cut short: the error's traceback looks into it
            raise
        view.release()
        del self._buffer[:start]
        return iter(frames)
