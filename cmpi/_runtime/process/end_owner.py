"""The peer of a channel end, as the end sees it. For types only."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from cmpi._runtime.process.aborts import Fate
    from cmpi._runtime.process.condition import ChannelCondition
    from cmpi._runtime.process.connection import Connection
    from cmpi._transport.pickling import Message
    from cmpi.identifiers import ExitStatus, Pid

    class EndOwner(Protocol):
        """The peer's interface for its ends. Guarded by the node's lock."""

        pid: Pid
        lock: Any
        connection: Connection
        status: ExitStatus | None  # of the peer, once it has ended

        def new_condition(self) -> ChannelCondition:
            """A condition for the threads that wait for one of its ends."""

        def looked_at(self) -> None:
            """The program has received the end, or the failure, of the peer."""

        def transmit(self, end: Any, message: Message) -> None:
            """Send a message that the channel has room for."""

        def give_credit(self, end: Any) -> None:
            """Tell the sender what was read."""

        def close_sender(self, end: Any) -> None:
            """Close a sending end."""

        def close_receiver(self, end: Any) -> None:
            """Close a receiving end."""

        def abort_sender(self, end: Any, cause: str, fate: Fate) -> None:
            """Abort a sending end, because an exception made its owner abandon it."""

        def abort_receiver(self, end: Any, cause: str, fate: Fate) -> None:
            """Abort a receiving end, because an exception made its owner abandon it."""

        def carry_out(self, end: Any, event: Any, fate: Fate = True) -> None:
            """Give an event to a sending end's machine, and carry out the actions."""

        def forget(self, end: Any) -> None:
            """Forget an end that is closed for good."""
