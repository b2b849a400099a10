"""`select`: do the first of several receives and sends that can be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cmpi._runtime.process.condition import refuse_in_loop
from cmpi.channels.operation import Operation
from cmpi.channels.selection import MISSING, Selected, Selection
from cmpi.errors import UsageError

if TYPE_CHECKING:
    from cmpi.channels.mailbox import Mailbox
    from cmpi.channels.receiver import Receiver
    from cmpi.channels.sending import Sending
    from cmpi.processes.notices import Notices


def select(
    *operations: Receiver[Any] | Mailbox[Any] | Notices | Sending,
    timeout: float | None = None,
    default: Any = MISSING,
) -> Selected:
    """Do the first of several receives and sends that can be done, and only that one.

    Args:
        operations: Receivers, mailboxes, notices, and sends made by `sender.sending(value)`; each end once.
        timeout: Longest wait, in seconds. None waits for ever.
        default: If given, do not wait: `Selected(None, default)` when nothing is ready.

    Of several that are ready, the choice goes round, so that each gets the same share.

    Raises:
        TimeoutError: Nothing was ready in time; nothing was done.
        EndOfChannel, PeerExited, PeerFailed, PeerClosed, ChannelClosed, ContractMismatch: As `recv` and
            `send` of the operation that is ready with it; the error's `operation` says which.
        ChannelBusy: Another thread uses one of the ends, or an end is named twice.

    Blocks: until one is ready. Source: the guarded commands of Hoare, "Communicating Sequential
    Processes" (1978), and Go's `select`.
    """
    refuse_in_loop("select()", "`asyncio.wait` over the async forms")
    if not operations:
        raise UsageError("select() needs something to wait for: receivers, or sender.sending(value)")
    todo: list[Operation[Any]] = [
        operation if isinstance(operation, Operation) else operation._receiving for operation in operations
    ]
    return Selection(todo, timeout, default).run()
