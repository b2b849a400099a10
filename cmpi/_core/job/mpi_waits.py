"""Detects that every process of a job has waited for others for a while, some of them inside MPI. Pure.

A rank that waits in MPI keeps its core busy, as a rank that computes does. It is recognised by three signs:
its innermost line of Python calls MPI, its main thread uses its core, and it has not returned to Python
since it was last asked. This only leads to a report and never ends the job, because whatever a rank waits
for may still arrive in a way that cmpi does not see.
"""

from __future__ import annotations

from cmpi._base.frozen import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cmpi._core.protocol.monitor_root import RankStacks

LOOKS = 4  # looks within the time after which waits are reported
RARE = 8  # times that time: the longest pause between looks at ranks that are not waiting
# MPI's blocking calls: mpi4py's method names in lower case.
_PLAIN = """
    send ssend bsend rsend recv sendrecv sendrecv_replace probe mprobe wait waitall waitany waitsome barrier
    bcast gather gatherv scatter scatterv allgather allgatherv alltoall alltoallv alltoallw reduce allreduce
    scan exscan reduce_scatter reduce_scatter_block neighbor_allgather neighbor_alltoall finalize
"""
_COMM = "accept connect create create_group disconnect dup split split_type spawn"
CALLS = {name: f"MPI_{name.capitalize()}" for name in _PLAIN.split()}
CALLS |= {name: f"MPI_Comm_{name}" for name in _COMM.split()} | {"fence": "MPI_Win_fence"}


@frozen
class MpiCall:
    """An MPI call at the top of a stack."""

    name: str  # such as MPI_Recv
    where: str  # file:line; "" at the program's end


AT_END = MpiCall("MPI_Finalize", "")


def mpi_call(stacks: str) -> MpiCall | None:
    """The MPI call that the main thread is in; None if its innermost line makes none.

    Args:
        stacks: faulthandler's output for all threads, the main one last, with the source below each line.
    """
    lines = stacks.splitlines()
    heads = [i for i, line in enumerate(lines) if line.endswith("(most recent call first):")]
    if not heads or len(lines) < heads[-1] + 3:
        return None
    place, source = lines[heads[-1] + 1], lines[heads[-1] + 2]
    file, _, rest = place.strip().removeprefix('File "').partition('", line ')
    for piece in source.split("(")[:-1]:
        before, dot, name = piece.rpartition(".")
        if dot and before and name.lower() in CALLS:
            return MpiCall(CALLS[name.lower()], f"{file}:{rest.partition(' ')[0]}")
    return None


class MpiWaits:
    """Decides when to look at the ranks, and judges what was found. Not thread-safe; never blocks.

    Args:
        after_s: How long all must have waited, in seconds; 0: never look.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s, self._over = after_s, after_s == 0
        self.moved()

    def moved(self) -> None:
        """A process was born, has ended or has written something: the job goes on."""
        self._pause_s = self._after_s / LOOKS
        self._next_s: float | None = None
        self._looked_at: set[int] = set()  # pids, in the last round
        self._asked: set[int] = set()  # those of them that have not answered
        self._in: dict[int, tuple[MpiCall, float]] = {}  # by pid: the call, and when it was first seen

    def tick(self, ranks: Collection[int], now_s: float) -> list[int]:
        """Return the ranks to look at now; `ranks` are those that are alive and do not wait in cmpi."""
        if self._over or not ranks:
            return []
        if self._next_s is None:
            self._next_s = now_s + self._pause_s
        if now_s < self._next_s:
            return []
        self._next_s = now_s + self._pause_s
        self._looked_at, self._asked = set(ranks), set(ranks)
        self._in = {pid: it for pid, it in self._in.items() if pid in self._looked_at}
        return sorted(ranks)

    def look(self, pid: int, found: RankStacks, now_s: float) -> dict[int, str]:
        """Note what a rank is doing. Once all have waited long enough, return what each waits for, in
        words; that happens once."""
        call = AT_END if found.ending else mpi_call(found.text)
        before = self._in.get(pid)
        if call is None:
            self._in.pop(pid, None)
        elif before is None or before[0] != call or found.went_on:
            self._in[pid] = call, now_s
        self._asked.discard(pid)
        return {} if self._asked else self._judge(now_s)

    def _judge(self, now_s: float) -> dict[int, str]:
        """Judge the answers of a complete round."""
        if self._over or self._in.keys() != self._looked_at:
            self._pause_s = min(self._pause_s * 2, self._after_s * RARE)
            return {}
        self._pause_s = self._after_s / LOOKS
        if any(since_s > now_s - self._after_s for _, since_s in self._in.values()):
            return {}
        self._over = True
        return {pid: _words(call, now_s - since_s) for pid, (call, since_s) in self._in.items()}

    def deadline_s(self) -> float | None:
        """When `tick` is due; None if nothing is."""
        return None if self._over else self._next_s


def _words(call: MpiCall, waited_s: float) -> str:
    where = f"at {call.where}" if call.where else "at its end"
    return f"waits in {call.name} {where} for {waited_s:.0f} s"
