"""`select`: carries out the first of several receives and sends that is ready."""

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
    """Wait until one of several receives and sends is ready, and carry out only that one.

    Args:
        operations: Receivers, mailboxes, notices, and sends created by `sender.sending(value)`; each end
            only once.
        timeout: Longest wait, in seconds. None waits for ever.
        default: If given, do not wait: return `Selected(None, default)` if nothing is ready.

    If several are ready, they take turns, so that each gets the same share.

    Raises:
        TimeoutError: Nothing was ready in time; nothing was done.
        EndOfChannel, PeerExited, PeerFailed, PeerClosed, ChannelClosed, ContractMismatch: As `recv` and
            `send`, from the operation that was chosen; the error's `operation` says which.
        ChannelBusy: Another thread uses one of the ends, or an end is given twice.

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
