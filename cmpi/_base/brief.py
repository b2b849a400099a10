"""Values in messages: a short text for any value, even if its own `repr` fails or is huge."""

from __future__ import annotations

import reprlib

MOST_CHARACTERS = 60


class _Brief(reprlib.Repr):
    """A repr that looks at no more of a value than it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = MOST_CHARACTERS

    def repr_int(self, value: int, level: int) -> str:
        # Python refuses to convert a large number to text, or is slow.
        digits = value.bit_length() * 3 // 10
        return repr(value) if digits < 100 else f"<an int of about {digits} digits>"

    def repr_instance(self, value: object, level: int) -> str:
        try:
            return super().repr_instance(value, level)
        except Exception:
            return f"<{type(value).__name__} whose repr fails>"

    def repr_bytes(self, value: bytes, level: int) -> str:
        return repr(value[:MOST_CHARACTERS])

    def repr_bytearray(self, value: bytearray, level: int) -> str:
        return repr(value[:MOST_CHARACTERS])


_brief = _Brief()


def brief(value: object) -> str:
    """The value in at most 60 characters.

    >>> brief([1, "two"])
    "[1, 'two']"
    >>> brief(10**5000)
    '<an int of about 4983 digits>'
    """
    try:
        text = _brief.repr(value)
    except Exception:  # a user's own container, or one nested too deeply
        text = f"<{type(value).__name__} whose repr fails>"
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 3] + "..."
