"""Whether something is worth another try. Pure."""

from __future__ import annotations

MOST = 6  # doublings


class Backoff:
    """Counts tries: after the first in vain one is left out, after the next two, then four, up to 64.

    Source: the exponential backoff of Ethernet (Metcalfe and Boggs, 1976), but in occasions, so that
    what never works costs a sixty-fourth of its price, whatever the pace.
    """

    def __init__(self) -> None:
        self._in_vain = self._left_out = 0

    @property
    def due(self) -> bool:
        """Whether to try now. Each question is an occasion."""
        if self._left_out > 0:
            self._left_out -= 1
            return False
        return True

    def tried(self, worked: bool) -> None:
        """What came of it."""
        if worked:
            self._in_vain = 0
        else:
            self._left_out = 1 << self._in_vain
            self._in_vain = min(self._in_vain + 1, MOST)
