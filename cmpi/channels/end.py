"""The common parts of `Sender` and `Receiver`: their type, their registry, and their use by one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cmpi._base.brief import brief
from cmpi._base.frozen import replace
from cmpi._core.channel import channel
from cmpi._core.channel.contract import Contract
from cmpi._runtime.process import context
from cmpi._runtime.process.aborts import cause_of, ends_in_order
from cmpi._runtime.process.unwinding import unwinding
from cmpi._runtime.process.wait_registry import call_site
from cmpi.errors import ChannelExists, UsageError
from cmpi.identifiers import Pid

if TYPE_CHECKING:
    from cmpi._runtime.process.channel_ends import ReceiverEnd, SenderEnd

T = TypeVar("T")
MOST_NAME = 65536


class Typed:
    """`Sender[int]`: creates ends with this type."""

    def __init__(self, cls: type[Any], hint: object) -> None:
        self._cls, self.hint = cls, hint

    def __call__(self, pid: Pid, **options: Any) -> Any:
        return self._cls(pid, **options, _hint=self.hint)

    def any(self, pids: Iterable[Pid], *, name: str = "") -> Any:
        return self._cls.any.__func__(self, pids, name=name)  # it creates its ends by calling this object

    def broadcast(self, pids: Iterable[Pid], *, name: str = "") -> Any:
        return self._cls.broadcast.__func__(self, pids, name=name)

    def to(self, to: str | Pid, *, capacity: int | str | None = None) -> Any:
        return self._cls.to.__func__(self, to, capacity=capacity)

    def __repr__(self) -> str:
        return f"{self._cls.__name__}[{Contract(self.hint).text}]"


class Endpoint(Generic[T]):
    """The common base of both ends."""

    _end: SenderEnd | ReceiverEnd

    def __init__(self, pid: Pid, *, name: str = "", _hint: object = Any) -> None:
        if not isinstance(pid, Pid):
            hint = ". Did whereis() find nobody?" if pid is None else ""
            found = f"{type(pid).__name__}: {brief(pid)}"
            raise UsageError(f"a {type(self).__name__} is opened with a Pid; found {found}{hint}")
        if len(name) > MOST_NAME:
            raise UsageError(f"a channel's name has {MOST_NAME} characters at most; found {len(name)}")
        self._node = context.current()
        self._lock = self._node.lock
        contract = Contract(_hint)
        site = call_site()
        if pid == self._node.pid:
            raise ChannelExists(
                f"{site} opens a channel to this process itself ({pid}); use a queue.Queue instead"
            )
        self._lock.refuse_inside()
        with self._lock:
            self._node.dropped_ends.close()
            self._peer = self._node.peers.get(pid)
            self._lane = self._peer.connection
            other = self._other(name)
            if other is not None:
                label = f", name={name!r}" if name else ""
                raise ChannelExists(
                    f"{type(self).__name__}({pid}{label}) at {site}: there is one already, opened at "
                    f"{other.site}. Use that one, close it first, or give this one another name."
                )
            self._end = self._open(name, contract, site)
        self._node.exits.watch(pid)

    if not TYPE_CHECKING:

        def __class_getitem__(cls, hint: object) -> object:
            return super().__class_getitem__(hint) if isinstance(hint, TypeVar) else Typed(cls, hint)

    @property
    def pid(self) -> Pid:
        """The process at the other end."""
        return self._end.pid

    @property
    def name(self) -> str:
        """The channel's name; "" if it has none."""
        return self._end.name

    def statistics(self) -> channel.Statistics:
        """Counts of the messages and bytes that went through this end so far, and their way. Blocks:
        never."""
        with self._lock:
            counts: channel.Statistics = replace(self._end.machine.statistics, way=self._lane.way)
            return counts

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or ends_in_order(error):
            self.close()
        else:
            self._abort(error)

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)  # which never blocks

    def _abort(self, error: BaseException) -> None:
        """Close this end because of an exception, and tell the peer."""
        with self._lock:
            self._end.abort(cause_of(error), error)

    def __del__(self, unwinding: Callable[[], Any] = unwinding) -> None:
        # `unwinding` is an argument because this module's globals may be gone when Python ends.
        end = getattr(self, "_end", None)
        if end is not None and end.machine.state != "closed" and not self._node.dropped_ends.over:
            self._node.dropped_ends.add(end, unwinding())

    def __reduce__(self) -> Any:
        raise TypeError(
            f"a {type(self).__name__} belongs to its process and cannot be sent; send the Pid, and open "
            "a channel there"
        )

    def __repr__(self) -> str:
        label = f", name={self.name!r}" if self.name else ""
        return f"<{type(self).__name__}[{self._end.contract.text}]({self.pid}{label})>"

    def close(self) -> None:
        raise NotImplementedError

    def _open(self, name: str, contract: Contract, site: str) -> Any:
        raise NotImplementedError

    def _other(self, name: str) -> SenderEnd | ReceiverEnd | None:
        """The end of this name that is already open, if any."""
        raise NotImplementedError


Self = TypeVar("Self", bound=Endpoint[Any])
