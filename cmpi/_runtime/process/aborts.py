"""Delays aborts of channels until it is clear whether their exception ends the process.

An exception that leaves a `with` block either ends the process or is caught, and nothing tells which. The
peer is therefore told of the abort once the exception object has gone, which shows that it was caught, or
when the process has outlived it for `HOLD_S`. If the process ends first, its exit status tells the peer.
"""

from __future__ import annotations

import weakref

from cmpi._transport import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

if TYPE_CHECKING:
    from typing import TypeAlias

    # The exception, whose lifetime shows what becomes of it; or, if it is not at hand, whether it was
    # caught.
    Fate: TypeAlias = BaseException | bool

HOLD_S: Final = 1.0  # longer than an exception takes to end a process
_MARK: Final = "__cmpi_abort__"
MOST_CAUSE: Final = 300  # characters


class _Mark:
    """Attached to the exception, and freed with it."""

    def __init__(self, gone: Callable[[], None]) -> None:
        self._gone = gone

    def __del__(self) -> None:
        self._gone()

    def __reduce__(self) -> Any:
        return type(None), ()  # a copy of the exception, also in another process, has no mark


class _Held:
    """An abort that the peer must be told about."""

    def __init__(self, fate: Fate, post: Callable[[], None], nudge: Callable[[], None]) -> None:
        self.post, self.until_s = post, clock.now_s() + HOLD_S
        self.leaves = isinstance(fate, SystemExit) and fate.code not in (None, 0)
        self._mark: Any = None
        # Python frees a SystemExit, and only then ends.
        if isinstance(fate, BaseException) and not self.leaves:
            mark = fate.__dict__.get(_MARK)
            if mark is None:
                mark = fate.__dict__[_MARK] = _Mark(nudge)
            self._mark = weakref.ref(mark)

    @property
    def due(self) -> bool:
        """Whether the process has outlived the exception."""
        gone = self._mark is not None and self._mark() is None
        return gone or clock.now_s() >= self.until_s


class PendingAborts:
    """The aborts that are being delayed. Guarded by the node's lock.

    Args:
        nudge: Called, in any thread and at any time, when `post_due` may have something to do.
    """

    def __init__(self, nudge: Callable[[], None]) -> None:
        self._nudge = nudge
        self._held: list[_Held] = []

    def hold(self, fate: Fate, post: Callable[[], None]) -> None:
        """Call `post` once the process has outlived the exception."""
        if fate is True:
            post()
        else:
            self._held.append(_Held(fate, post, self._nudge))
            self._nudge()

    def post_due(self) -> None:
        """Post the aborts whose exceptions the process has outlived."""
        due = [held for held in self._held if held.due]
        if due:
            self._held = [held for held in self._held if held not in due]
            for held in due:
                held.post()

    @property
    def pause_s(self) -> float | None:
        """Seconds until `post_due` has something to do; None: nothing is held."""
        if not self._held:
            return None
        return max(0.0, min(held.until_s for held in self._held) - clock.now_s())

    def post_all(self) -> bool:
        """Post the remaining aborts, because the process ends without an exception. If it ends by
        `sys.exit` with a status that means failure, post none and return False."""
        if any(held.leaves for held in self._held):
            return False
        held_before, self._held = self._held, []
        for held in held_before:
            held.post()
        return True


def cause_of(error: BaseException) -> str:
    """Describe an exception in bounded length: its type and its message."""
    try:
        message = str(error)
    except Exception:
        message = "(its message cannot be shown)"
    name = type(error).__qualname__
    text = f"{name}: {message}" if message else name
    if len(text) > MOST_CAUSE:
        text = text[: MOST_CAUSE - 3] + "..."
    return text.encode("utf-8", "backslashreplace").decode()


def ends_in_order(error: BaseException | None) -> bool:
    """Whether leaving a `with` block by `error` is a planned end: None, `sys.exit()` with success, or the
    closing of a generator that is suspended in the block."""
    if isinstance(error, SystemExit):
        return error.code in (None, 0)
    return error is None or isinstance(error, GeneratorExit)
