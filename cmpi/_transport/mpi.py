"""The only file that imports `mpi4py.MPI`: starts MPI, spawns processes, and has a transport over MPI.

Importing this module loads MPI; `initialize` starts it. A transport is a communicator of two processes. It
carries frames as messages with tag HEAD, and large buffers after their frame as messages with tag BULK. MPI
guarantees the order within a tag ("Semantics of Point-to-Point Communication", non-overtaking), and every
transport has its own communicator, so buffers are received in the right place if their receives are posted
in the order of the frames.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import deque

import mpi4py

if "mpi4py.MPI" not in sys.modules:
    rc_before: tuple[bool, bool | None] | None = (mpi4py.rc.initialize, mpi4py.rc.finalize)
    mpi4py.rc.initialize = False
    mpi4py.rc.finalize = False
else:
    rc_before = None  # the program has loaded MPI before this module
from mpi4py import MPI

from cmpi._transport.buffer_pool import blank

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

HEAD, BULK = 1, 2
CHUNK_BYTES = 1 << 30  # below the 2 GiB that MPI's 32-bit counts allow


class TransportBroken(Exception):
    """MPI reports that the peer is gone. The control plane knows the reason."""


def initialize(*, release_gil: bool = False) -> bool:
    """Start MPI unless it is running; True if this call started it. Other threads go on meanwhile if it is
    to `release_gil`.

    Raises:
        RuntimeError: MPI is running, but does not allow calls from several threads.
    """
    mine = not MPI.Is_initialized()
    if mine:
        if release_gil:
            _init_without_gil()
        else:
            MPI.Init_thread(MPI.THREAD_MULTIPLE)
        _no_delay()
    if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
        raise RuntimeError(
            "cmpi needs MPI_THREAD_MULTIPLE, which is mpi4py's default; this program asked for less "
            "(mpi4py.rc.thread_level, or Init_thread with a smaller level)"
        )
    MPI.COMM_SELF.Set_errhandler(MPI.ERRORS_RETURN)
    return mine


def _init_without_gil() -> None:
    """Call MPI_Init_thread with the GIL released, which mpi4py's Init_thread does not do."""
    import ctypes

    with open("/proc/self/maps") as maps:
        path = next(line.split()[-1] for line in maps if "/libmpi" in line)
    provided = ctypes.c_int()
    code = ctypes.CDLL(path).MPI_Init_thread(None, None, MPI.THREAD_MULTIPLE, ctypes.byref(provided))
    if code != MPI.SUCCESS:
        raise MPI.Exception(code)


def runs() -> bool:
    """Whether MPI was started in this process; it may have been finalized since."""
    return MPI.Is_initialized()


def start_as_mpi4py_does() -> None:
    """Start MPI as the import of `mpi4py.MPI` does, with the present settings of `mpi4py.rc`.

    Source: mpi4py's `src/mpi4py/MPI.src/atimport.pxi`, "initialize".
    """
    rc = mpi4py.rc
    if MPI.Is_initialized():
        return
    if rc.threads:
        levels = {
            "single": MPI.THREAD_SINGLE,
            "funneled": MPI.THREAD_FUNNELED,
            "serialized": MPI.THREAD_SERIALIZED,
        }
        MPI.Init_thread(levels.get(rc.thread_level, MPI.THREAD_MULTIPLE))
    else:
        MPI.Init()
    _no_delay()
    handlers = {"default": MPI.ERRORS_ARE_FATAL, "fatal": MPI.ERRORS_ARE_FATAL, "abort": MPI.ERRORS_ABORT}
    for comm in (MPI.COMM_SELF, MPI.COMM_WORLD):
        comm.Set_errhandler(handlers.get(rc.errors, MPI.ERRORS_RETURN))


def finalize() -> None:
    """Finalize MPI, if it is running."""
    if MPI.Is_initialized() and not MPI.Is_finalized():
        MPI.Finalize()


def on_finalize(callback: Callable[[], None]) -> None:
    """Have `callback` called at the beginning of MPI_Finalize.

    Source: MPI-4.1, "Allowing User Functions at Process Termination".
    """

    def delete(comm: MPI.Comm, keyval: int, value: object) -> None:
        callback()

    keyval = MPI.Comm.Create_keyval(delete_fn=delete)
    MPI.COMM_SELF.Set_attr(keyval, None)


def version() -> str:
    """The library in one line, such as "Open MPI v5.0.11"."""
    return MPI.Get_library_version().splitlines()[0].strip().rstrip(",")


def vendor() -> str:
    """ "openmpi", "mpich" or another name in lower case."""
    return MPI.get_vendor()[0].lower().replace(" ", "")


def world() -> tuple[int, int]:
    """Rank and size in MPI_COMM_WORLD."""
    return MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()


def in_world() -> bool:
    """Whether MPI_Finalize would wait here for other ranks."""
    return MPI.Is_initialized() and not MPI.Is_finalized() and world()[1] > 1


def _no_delay() -> None:
    """Switch Nagle's algorithm off on Open MPI's connection to its launcher.

    PMIx writes a message as head and body; with Nagle's algorithm, the body waits for the acknowledgement
    of the head, which the other side delays by 40 ms. Measured: MPI_Finalize takes 45 ms with it, 3.5
    without.
    """
    uri = os.environ.get("PMIX_SERVER_URI4", "")
    port = uri.rpartition(":")[2]
    if "tcp" not in uri or not port.isdigit():
        return
    import socket

    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(name))) as sock:
                if sock.family == socket.AF_INET and sock.getpeername()[1] == int(port):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return
        except OSError:
            pass  # not a connected socket


# -- the root and the spawn completer -----------------------------------------------------


def spawn(argv: list[str], n: int, host: str) -> None:
    """Start n processes of `argv` as one MPI world.

    Raises:
        RuntimeError: MPI could not; the message is MPI's own.

    Blocks: until the spawn completer has connected to the port that the new processes get (see `pmi.py`).
    """
    info = MPI.Info.Create()
    if vendor() == "openmpi":
        info.Set("bind_to", "none")  # else more processes than cores "failed to map"
    if host:
        info.Set("host", host)
    try:
        with _own_self() as self_comm:
            _part(self_comm.Spawn(argv[0], argv[1:], n, info))
    except MPI.Exception as error:
        raise RuntimeError(error.Get_error_string()) from None
    finally:
        info.Free()


def connect_and_leave(port: str) -> None:
    """Connect to the process that accepts at `port`, and disconnect. Blocks: for the other end."""
    with _own_self() as self_comm:
        _part(self_comm.Connect(port))


def _part(comm: MPI.Intercomm) -> None:
    """Free a communicator without messages in flight, together with the other end.

    With MPI_Comm_free, MPICH 5.0.2 now and then lost a connection if the same two processes created the
    next one while the last one was being freed. With MPI_Comm_disconnect, Open MPI 5.0.11 waited for ever
    under load, if other processes were killed meanwhile.
    """
    if vendor() == "mpich":
        comm.Disconnect()
    else:
        comm.Free()


@contextlib.contextmanager
def _own_self() -> Iterator[MPI.Intracomm]:
    """A COMM_SELF for this thread, because two threads must not use collectives of one communicator."""
    comm = MPI.COMM_SELF.Dup()
    try:
        comm.Set_errhandler(MPI.ERRORS_RETURN)
        yield comm
    finally:
        comm.Free()


def tell_all(text: str) -> tuple[int, list[str]]:
    """Tell all ranks of the world a line of text; returns our rank, and what all have told. Blocks: until
    all take part."""
    texts: list[str] = MPI.COMM_WORLD.allgather(text)
    return MPI.COMM_WORLD.Get_rank(), texts


# -- transports --------------------------------------------------------------------------


def group(peer_rank: int) -> MpiTransport:
    """Create a transport with another rank of MPI_COMM_WORLD. Blocks: until that rank takes part."""
    me = MPI.COMM_WORLD.Get_rank()
    low, high = sorted((me, peer_rank))
    both = MPI.COMM_WORLD.Get_group().Incl([low, high])
    # The tag is unique for a pair, in case two pairs with a common rank are connecting at the same time.
    tag = (low * MPI.COMM_WORLD.Get_size() + high) % 32768
    comm = MPI.COMM_WORLD.Create_group(both, tag)
    both.Free()
    return MpiTransport(comm, 1 if me == low else 0)


def transports() -> dict[int, MpiTransport]:
    """A transport with each other rank of MPI_COMM_WORLD, by its rank. Blocks: until all take part."""
    rank, size = world()
    comm = MPI.COMM_WORLD.Dup()
    return {peer: MpiTransport(comm, peer) for peer in range(size) if peer != rank}


class MpiParts:
    """Buffers that are being received."""

    def __init__(self, buffers: list[bytearray], requests: deque[MPI.Request]) -> None:
        self.buffers, self._spawn_queue = buffers, requests

    def ready(self) -> bool:
        """True if all of them have arrived completely. Raises: TransportBroken."""
        try:
            while self._spawn_queue and self._spawn_queue[0].Test():
                self._spawn_queue.popleft()
        except MPI.Exception as error:
            raise TransportBroken(str(error)) from None
        return not self._spawn_queue


class MpiTransport:
    """Carries frames and buffers to and from one peer. For one thread at a time; no call blocks.

    Raises (all calls):
        TransportBroken: MPI reports that the peer is gone.
    """

    waitable = False  # it has no descriptor: arrivals are found only by looking
    way = "mpi"

    def __init__(self, comm: Any, peer: int) -> None:
        self._comm, self._peer = comm, peer
        comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.sent = self.received = 0  # numbers of frames
        # Requests and what they read from, in order; the callback belongs to the last of its send.
        self._sends: deque[tuple[MPI.Request, object, Callable[[], None] | None]] = deque()
        self._heads: deque[tuple[MPI.Request, bytearray]] = deque()
        self._scratch = MPI.Status()

    @property
    def sending(self) -> int:
        """How many sends are in flight."""
        return len(self._sends)

    @property
    def busy(self) -> bool:
        """True if a transfer is in flight that needs further calls to complete."""
        return bool(self._sends or self._heads)

    @property
    def under_way(self) -> bool:
        """True if something may not have arrived."""
        return self.busy

    def fileno(self) -> int:
        """The descriptor for poll; there is none."""
        return -1

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        self._isend(frame, HEAD, None)
        self.sent += 1
        self.progress_sends()

    def send_buffers(self, buffers: Sequence[Any], done: Callable[[], None] | None) -> None:
        """Send the buffers that belong to a frame (any objects with the buffer protocol).

        They must not change until `done` is called, by this call or by `progress_sends`.
        """
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        pieces = [piece for view in views for piece in _pieces(view)]
        for i, piece in enumerate(pieces, 1):
            self._isend(piece, BULK, done if i == len(pieces) else None)
        self.progress_sends()

    def _isend(self, data: object, tag: int, done: Callable[[], None] | None) -> None:
        try:
            self._sends.append((self._comm.Isend([data, MPI.BYTE], self._peer, tag), data, done))
        except MPI.Exception as error:
            raise TransportBroken(str(error)) from None

    def progress_sends(self) -> bool:
        """Progress the sends; True if any was completed."""
        moved = False
        try:
            while self._sends and self._sends[0][0].Test():
                moved = True
                done = self._sends.popleft()[2]
                if done is not None:
                    done()
        except MPI.Exception as error:
            raise TransportBroken(str(error)) from None
        return moved

    def receive(self) -> bytes | None:
        """Return the next frame, if one has arrived."""
        try:
            while self._comm.Iprobe(self._peer, HEAD, self._scratch):
                head = bytearray(self._scratch.Get_count(MPI.BYTE))
                # Only one thread receives from this communicator, so the probed message cannot be taken by
                # another.
                request = self._comm.Irecv([head, MPI.BYTE], self._peer, HEAD)
                self._heads.append((request, head))
            if self._heads and self._heads[0][0].Test():
                self.received += 1
                return bytes(self._heads.popleft()[1])
        except MPI.Exception as error:
            raise TransportBroken(str(error)) from None
        return None

    def expect(self, sizes: list[int]) -> MpiParts:
        """Begin to receive buffers of these sizes, which the peer sends after all earlier ones."""
        buffers = [blank(size) for size in sizes]
        pieces = [piece for buffer in buffers for piece in _pieces(memoryview(buffer))]
        try:
            requests = deque(self._comm.Irecv([piece, MPI.BYTE], self._peer, BULK) for piece in pieces)
        except MPI.Exception as error:
            raise TransportBroken(str(error)) from None
        return MpiParts(buffers, requests)

    def free(self) -> None:
        """Free the communicator; the peer need not take part.

        MPI_Comm_disconnect would wait for the peer. That is not needed, because both have agreed (with Bye)
        that nothing is in flight.
        """
        try:
            self._comm.Free()
        except MPI.Exception:
            pass  # the peer is dead, so there is no order to keep


def _pieces(view: memoryview) -> list[memoryview]:
    """Split a view into lengths that MPI can count; an empty view gives one empty piece."""
    return [view[at : at + CHUNK_BYTES] for at in range(0, max(len(view), 1), CHUNK_BYTES)]
