"""Memory that the pool and the workers of a host share: each large buffer is there once, read-only for
workers.

A *hoisted* buffer is a file in the job's shared memory folder, named by a number that the pool assigns. The
arguments of `ProcessPool.share` are hoisted at once, and so are the arrays that a function captures; an
array that is an argument several times is hoisted with its second task. A worker on another host gets the
buffer before the first task that needs it, and stores it in the same place there for all workers on that
host. The file is removed with the last reference to the buffer in the pool's process, or with the job; a
worker's view lives as long as it is used.
"""

from __future__ import annotations

import itertools
import mmap
import os
import threading
import weakref
from collections import OrderedDict, deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmpi._runtime.process import context
from cmpi._transport import pickling

HOISTED_BYTES = 1 << 20  # smaller buffers travel with each task
REMEMBERED = 64  # how many array arguments are remembered
MAX_REPEATED = 8  # how many arrays are kept hoisted because they were arguments several times

_packing = threading.local()  # `shares`: the shared objects in what this thread is pickling


class Hoisted:
    """A buffer in shared memory. Its file is removed with the last reference to this object."""

    def __init__(self, number: int, memory: NDArray[np.uint8]) -> None:
        self.number, self.nbytes, self.memory = number, memory.nbytes, memory


class SharedObject:
    """An object that `ProcessPool.share` returns. Pass it to tasks as an argument, or capture it in a
    function; the task gets the original value."""

    def __init__(self, key: str, body: bytes, buffers: list[Any]) -> None:
        self._key, self._body, self._buffers = key, body, buffers

    @property
    def nbytes(self) -> int:
        """The size of its buffers in bytes."""
        return sum(buffer.nbytes for buffer in self._buffers)

    def __reduce__(self) -> Any:
        shares = getattr(_packing, "shares", None)
        if shares is None:
            raise TypeError("a shared object can only be sent to tasks of its own pool")
        shares.append(self)
        numbers = [buffer.number if isinstance(buffer, Hoisted) else buffer for buffer in self._buffers]
        return load, (self._key, self._body, numbers)

    def __repr__(self) -> str:
        return f"<SharedObject of {self.nbytes} bytes>"


class Packed:
    """A pickle for workers, with its large buffers, hoisted or not, and the shared objects that it refers
    to."""

    __slots__ = ("body", "buffers", "shares")

    def __init__(self, body: bytes, buffers: list[Any], shares: list[SharedObject]) -> None:
        self.body, self.buffers, self.shares = body, buffers, shares

    @property
    def nbytes(self) -> int:
        """The number of bytes that travel with it."""
        nbytes = len(self.body)
        for buffer in self.buffers:
            if not isinstance(buffer, Hoisted):
                nbytes += buffer.nbytes
        return nbytes

    def needs(self) -> list[Hoisted]:
        """The hoisted buffers that a worker must have to unpickle it."""
        found = [buffer for buffer in self.buffers if isinstance(buffer, Hoisted)]
        for share in self.shares:
            found += [buffer for buffer in share._buffers if isinstance(buffer, Hoisted)]
        return found

    def sent(self) -> tuple[bytes, list[Any]]:
        """The part of a message that carries it."""
        if not self.buffers:
            return self.body, self.buffers
        return self.body, [each.number if isinstance(each, Hoisted) else each for each in self.buffers]


class SharedBuffers:
    """The buffers that a pool has hoisted. Thread-safe.

    Args:
        name: The pool's name.
    """

    def __init__(self, name: str) -> None:
        node = context.current()
        self.folder = node.state.shared_memory
        self.host = host_of(self.folder)
        self.name = f"{node.pid.value:x}-{name}"
        self._numbers = itertools.count(1)
        self._keys = itertools.count(1)
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._repeated: OrderedDict[tuple[int, int], Hoisted] = OrderedDict()
        self.dropped: deque[int] = deque()  # numbers of buffers whose last reference has gone

    def pack(self, value: object, name: str, *, hoist: bool) -> Packed:
        """Pickle a value for workers.

        Args:
            value: The value to pickle.
            name: What it is, for error messages.
            hoist: Hoist all its large buffers, not only those that repeat.

        Raises: NotPicklable. Blocks: for the time of pickling and copying.
        """
        shares: list[SharedObject] = []
        _packing.shares = shares
        try:
            message = pickling.dumps(value, name)
        finally:
            _packing.shares = None
        if isinstance(message, bytes):
            return Packed(message, [], shares)
        arrays = [np.frombuffer(buffer, np.uint8) for buffer in message.buffers]
        place = self.hoisted if hoist else self._if_it_repeats
        return Packed(message.body, [place(array) for array in arrays], shares)

    def share(self, value: object) -> SharedObject:
        """Hoist the buffers of a value. Raises: NotPicklable."""
        packed = self.pack(value, "the shared object", hoist=True)
        return SharedObject(f"{self.name}-{next(self._keys)}", packed.body, packed.buffers)

    def hoisted(self, array: NDArray[np.uint8]) -> Hoisted | NDArray[np.uint8]:
        """Return the array hoisted into shared memory if it is large and there is room; else the array."""
        if array.nbytes < HOISTED_BYTES or not self.folder:
            return array
        number = next(self._numbers)
        path = path_of(self.folder, self.name, number)
        try:
            memory = write(path, array)
        except OSError:
            return array
        hoisted = Hoisted(number, memory)
        weakref.finalize(hoisted, self._drop, path, number)
        return hoisted

    def _drop(self, path: str, number: int) -> None:
        """Note that a buffer's last reference has gone. The garbage collector calls this in any thread, so
        it takes no lock."""
        self.dropped.append(number)
        try:
            os.unlink(path)
        except OSError:
            pass  # the job is over

    def _if_it_repeats(self, array: NDArray[np.uint8]) -> Hoisted | NDArray[np.uint8]:
        """As `hoisted`, for an argument: hoists the array for its second task, if it has not changed
        since."""
        if array.nbytes < HOISTED_BYTES or not self.folder:
            return array
        key = (array.ctypes.data, array.nbytes)
        with self._lock:
            kept = self._repeated.get(key)
            if kept is not None:
                if np.array_equal(kept.memory, array):
                    self._repeated.move_to_end(key)
                    return kept
                del self._repeated[key]  # it was changed, or is another array at the same address
            if key not in self._seen:
                self._seen[key] = None
                if len(self._seen) > REMEMBERED:
                    self._seen.popitem(last=False)
                return array
            hoisted = self.hoisted(array)
            if isinstance(hoisted, Hoisted):
                self._repeated[key] = hoisted
                if len(self._repeated) > MAX_REPEATED:
                    self._repeated.popitem(last=False)
            return hoisted

    def close(self) -> None:
        """Drop the arrays that were hoisted because they were arguments several times. Blocks: never."""
        with self._lock:
            self._repeated.clear()


class Attached:
    """A worker's view of the hoisted buffers.

    Args:
        name: The name of the pool's buffers.
    """

    def __init__(self, name: str) -> None:
        self.folder = context.current().state.shared_memory
        self.host = host_of(self.folder)
        self._name = name
        self._buffers: dict[int, memoryview] = {}
        self.objects: dict[str, Any] = {}

    def get(self, number: int) -> Any:
        """Return a buffer, read-only. Raises: OSError."""
        found = self._buffers.get(number)
        if found is None:
            with open(path_of(self.folder, self._name, number), "rb") as file:
                found = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            self._buffers[number] = found
        return found

    def put(self, number: int, array: NDArray[np.uint8]) -> bool:
        """Keep a buffer that the pool has sent, for all workers of this host if there is room.

        Returns:
            True if all of them can see it from now on.
        """
        path = path_of(self.folder, self._name, number)
        try:
            if path:
                write(path, array)
                return True
        except FileExistsError:
            if os.path.exists(path):
                return True
            # Another worker is still writing it.
        except OSError:
            pass  # there is no room
        self._buffers[number] = array.data.toreadonly()
        return False

    def drop(self, number: int) -> None:
        """Drop a buffer that is not needed any more."""
        self._buffers.pop(number, None)
        try:
            os.unlink(path_of(self.folder, self._name, number))
        except OSError:
            pass  # another worker on this host, or the pool, has removed it


_attached: Attached | None = None


def attach(name: str) -> Attached:
    """Give this process access to the buffers of its pool."""
    global _attached
    _attached = Attached(name)
    return _attached


def load(key: str, body: bytes, buffers: list[Any]) -> Any:
    """Load a shared object in a worker; the same object each time."""
    if _attached is None:
        raise TypeError("a shared object can only be unpickled in the workers of its own pool")
    found = _attached.objects.get(key)
    if found is None:
        found = _attached.objects[key] = unpacked(body, buffers)
    return found


def unpacked(body: bytes, buffers: list[Any]) -> Any:
    """The value of a `Packed.sent`. Raises: whatever unpickling raises."""
    if not buffers:
        return pickling.loads(body)
    attached = _attached
    views = [
        attached.get(each) if isinstance(each, int) and attached else memoryview(each) for each in buffers
    ]
    return pickling.loads(body, views)


def path_of(folder: str, name: str, what: int | str) -> str:
    """The path of a hoisted buffer, by its number, or of another file of the pool; "" without a folder."""
    return f"{folder}/{name}-{what}" if folder else ""


def host_of(folder: str) -> str:
    """An identity of this host's files: two processes with the same one see the same files."""
    return f"{os.uname().nodename}:{os.stat(folder).st_ino}" if folder else f"pid:{os.getpid()}"


def write(path: str, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write an array to a file; returns its memory, read-only.

    Raises:
        OSError: There is no room for it. FileExistsError: The file already exists.
    """
    fd = os.open(path + "~", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, array.nbytes)  # a full file system is an error here, not a SIGBUS later
        memory = np.frombuffer(mmap.mmap(fd, array.nbytes), np.uint8)
        np.copyto(memory, array)
        os.rename(path + "~", path)
    except OSError:
        os.unlink(path + "~")
        raise
    finally:
        os.close(fd)
    memory.flags.writeable = False
    return memory
