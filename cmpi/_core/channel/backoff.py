"""Decides whether something that failed is worth another try. Pure."""

from __future__ import annotations

MOST = 6  # doublings


class Backoff:
    """Skips tries after failures: 1 after the first failure, then 2, 4 and so on up to 64.

    Source: the exponential backoff of Ethernet (Metcalfe and Boggs, 1976), but counted in occasions instead
    of time: something that never works costs 1/64 of its price, however often the occasion arises.
    """

    def __init__(self) -> None:
        self._in_vain = self._left_out = 0

    @property
    def due(self) -> bool:
        """Whether to try now. Each call counts as an occasion."""
        if self._left_out > 0:
            self._left_out -= 1
            return False
        return True

    def tried(self, worked: bool) -> None:
        """Note whether the try was successful."""
        if worked:
            self._in_vain = 0
        else:
            self._left_out = 1 << self._in_vain
            self._in_vain = min(self._in_vain + 1, MOST)
