"""The control frames of a job on several hosts: what the root is told of them, and asks for there."""

from __future__ import annotations

from cmpi._core.protocol.wire import frame

# -- launcher -> root -------------------------------------------------------------------


@frame(112, "sssSSQQL")
class HostIs:
    """A host that processes may be placed on; as a list, within Launch.

    A python of "" is that of the spawning process; cpu_units and memory_bytes of 0 are what the host
    allows, which for the root's own only the root can tell.
    """

    name: str
    address: str
    python: str
    cwd: list[str]  # none: that of the job
    argv: list[str]  # what a rank runs there; none: as everywhere
    cpu_units: int
    memory_bytes: int
    cores: list[int]


@frame(113, "ss")
class HostLost:
    """A host is out of reach, with all that ran there."""

    name: str
    reason: str


@frame(125, "y")
class HostBack:
    """A host that was lost can be used again: its HostIs."""

    host: bytes


@frame(114, "Is")
class WorldFailed:
    """The ranks of this start could not be started."""

    start: int
    reason: str


# -- root -> launcher -------------------------------------------------------------------


@frame(115, "s")
class HostForgotten:
    """The answer to HostLost: the connections from there may be closed."""

    name: str


@frame(116, "s")
class NeedHostSpawner:
    """Start a deputy on that host."""

    host: str


@frame(117, "IS")
class StartWorld:
    """Start ranks on several hosts, as one world; the host of each."""

    start: int
    hosts: list[str]


# -- root -> deputy ---------------------------------------------------------------------


@frame(118, "II?")
class SpawnThere:
    """Have MPI start so many processes, by the fork server or not."""

    start: int
    n: int
    forked: bool


@frame(119, "sSS")
class StartForkServer:
    """Start a fork server, in this `Interpreter`."""

    python: str
    flags: list[str]
    settings: list[str]


# -- deputy -> root ---------------------------------------------------------------------


@frame(120, "Is")
class SpawnFailed:
    """MPI could not start these processes."""

    start: int
    reason: str


# -- root -> rank, rank -> root: a link between two hosts ---------------------------------


@frame(121, "Isy")
class ListenFor:
    """Take part in a link: listen at this address, for one that knows this key."""

    peer: int
    address: str
    key: bytes


@frame(122, "IH")
class Listening:
    """The answer: at this port."""

    peer: int
    port: int


@frame(123, "IsHy")
class Dial:
    """Take part in a link: connect to this address and port, with this key."""

    peer: int
    address: str
    port: int
    key: bytes
