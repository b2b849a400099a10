"""The peer of a channel's end, as the end sees it. For types only."""

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
        """Guarded by the node's lock."""

        pid: Pid
        lock: Any
        connection: Connection
        status: ExitStatus | None  # of the process, once it has ended

        def new_condition(self) -> ChannelCondition:
            """The condition on which threads wait for one of its ends."""

        def looked_at(self) -> None:
            """The program has received how the process ended, or failed."""

        def transmit(self, end: Any, message: Message) -> None:
            """Send a message for which the channel has room."""

        def give_credit(self, end: Any) -> None:
            """Tell the sender what was read."""

        def close_sender(self, end: Any) -> None:
            """Nothing follows what was sent."""

        def close_receiver(self, end: Any) -> None:
            """Nobody reads here any more."""

        def abort_sender(self, end: Any, cause: str, fate: Fate) -> None:
            """An exception made the owner give this end up."""

        def abort_receiver(self, end: Any, cause: str, fate: Fate) -> None:
            """An exception made the owner give this end up."""

        def carry_out(self, end: Any, event: Any, fate: Fate = True) -> None:
            """Give a sending end's machine an event, and do what it says."""

        def forget(self, end: Any) -> None:
            """An end is closed for good."""
