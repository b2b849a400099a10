"""Messages that explain why a request for room waits or is refused. Pure."""

from __future__ import annotations

from cmpi._base.frozen import frozen
from cmpi._base.units import CPU_UNIT, format_cpus, format_memory
from cmpi._core.scheduling.shares import UNBOUND, Share

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cmpi._core.protocol import process_root
    from cmpi._core.scheduling.host_room import Host

MOST_HOLDERS = 4


@frozen
class Holder:
    """A process that holds a share of a host."""

    name: str
    host: str
    cpu_units: int
    memory_bytes: int


def call(ask: process_root.Spawn) -> str:
    """The request as a call: `spawn(cpus=1)`."""
    amounts = [str(ask.n)] if ask.n > 1 else []
    if ask.asks_cpus:
        amounts.append(f"cpus={format_cpus(ask.cpu_units)}")
    if ask.asks_memory and ask.memory_bytes:
        amounts.append(f'memory="{format_memory(ask.memory_bytes)}"')
    if ask.host:
        amounts.append(f'host="{ask.host}"')
    return f"{'spawn_group' if ask.n > 1 else 'spawn'}({', '.join(amounts)})"


def why_it_waits(
    ask: process_root.Spawn,
    hosts: Collection[Host],
    holders: Collection[Holder],
    before: int,
    share: Share = UNBOUND,
) -> str:
    """One sentence: what is free, which processes hold the rest, what to do.

    Args:
        ask: The request; it would fit if the hosts were empty.
        hosts: The hosts of the job.
        holders: All processes that hold something.
        before: How many earlier requests still wait.
        share: What the deployment that asks may hold.
    """
    named = [host for host in hosts if ask.host in ("", host.name)]
    begin = f"{call(ask)} waits for room"
    if not share.fits_more(ask.n, ask.cpu_units, ask.memory_bytes):
        return f"{begin}: {_holds(share)}; ask for less, or deploy it with larger --cpus and --memory"
    if sum(host.times(ask.cpu_units, ask.memory_bytes) for host in named) >= ask.n:
        return (
            f"{begin}: {_count(before, 'request')} made before it {'wait' if before > 1 else 'waits'} too"
        )
    cores = sum(_times(host.free_cpu_units, ask.cpu_units, ask.n) for host in named) < ask.n
    best = max(named, key=lambda host: host.free_cpu_units if cores else host.free_memory_bytes)
    group = named if ask.n > 1 else [best]
    amounts = [
        (host.cpu_units, host.free_cpu_units) if cores else (host.memory_bytes, host.free_memory_bytes)
        for host in group
    ]
    total, free = (sum(each) for each in zip(*amounts))
    asked = ask.n * (ask.cpu_units if cores else ask.memory_bytes)
    show = _cores if cores else format_memory
    here = {host.name for host in group}
    shares = [
        (holder.cpu_units if cores else holder.memory_bytes, holder.name)
        for holder in holders
        if holder.host in here
    ]
    where = f" on {best.name}" if len(hosts) > 1 and len(group) == 1 else ""
    what = f"{show(free)} of {show(total)} {'cores' if cores else 'of memory'} free{where}"
    needed = total - free + asked
    if len(group) > 1:
        more = "more hosts"
    elif cores:
        more = f"--cpus {-(-needed // CPU_UNIT)}"
    else:
        more = f'--memory "{-(-needed >> 20)} MiB"'
    return f"{begin}: {what}{_held(shares, show)}; ask for less, or {more}"


def too_large(ask_units: int, ask_bytes: int, n: int, host: str, hosts: Collection[Host]) -> str:
    """Why no host, even an empty one, has room for the request."""
    asked = _asked(ask_units, ask_bytes, n)
    if not hosts:
        return f"asked for {asked}; no host is left"
    if host:
        named = [each for each in hosts if each.name == host]
        if not named:
            return (
                f"asked for host {host}; the hosts of this job are {', '.join(each.name for each in hosts)}"
            )
        return (
            f"asked for {asked} on {host}, which has {_amount(named[0].cpu_units, named[0].memory_bytes)}"
        )
    if n > 1:
        cpus, memory = sum(each.cpu_units for each in hosts), sum(each.memory_bytes for each in hosts)
        return f"asked for {asked} at once; all hosts of this job together have {_amount(cpus, memory)}"
    largest = max(hosts, key=lambda each: (each.cpu_units, each.memory_bytes))
    return (
        f"asked for {asked} on one host; the largest, {largest.name}, has "
        f"{_amount(largest.cpu_units, largest.memory_bytes)} for this job. "
        "Ask for less, or give the job more with cmpirun --cpus and --memory."
    )


def beyond_share(ask_units: int, ask_bytes: int, n: int, share: Share) -> str:
    """Why a deployment never gets what it asks for."""
    return (
        f"asked for {_asked(ask_units, ask_bytes, n)}; this deployment may use {_all_of(share)} together. "
        "Ask for less, or deploy it with larger --cpus and --memory."
    )


def share_is_full(ask_units: int, ask_bytes: int, n: int, share: Share) -> str:
    """Why a deployment does not get what it asks for now."""
    return (
        f"asked for {_asked(ask_units, ask_bytes, n)}; {_holds(share)}. Ask for less, or wait for room "
        "with spawn()."
    )


def _holds(share: Share) -> str:
    held = _amount(share.held_cpu_units, share.held_memory_bytes)
    return f"this deployment holds {held}, and may use {_all_of(share)}"


def _all_of(share: Share) -> str:
    """The bounds of a share.

    >>> _all_of(Share(CPU_UNIT, 0)), _all_of(Share(2 * CPU_UNIT, 1 << 30))
    ('1 cpus', '2 cpus and 1 GiB')
    """
    bounds = [f"{format_cpus(share.cpu_units)} cpus"] if share.cpu_units else []
    return " and ".join([*bounds, format_memory(share.memory_bytes)] if share.memory_bytes else bounds)


def no_room(ask_units: int, ask_bytes: int, n: int, hosts: Collection[Host], waiting: int) -> str:
    """Why there is no room for the request now."""
    host = max(hosts, key=lambda host: host.free_cpu_units)
    return (
        f"asked for {_asked(ask_units, ask_bytes, n)}; the most that is free is "
        f"{_amount(host.free_cpu_units, host.free_memory_bytes)}, on {host.name}, and "
        f"{_count(waiting, 'request')} wait before this one. Ask for less, or wait for room with spawn()."
    )


def _held(shares: list[tuple[int, str]], show: Callable[[int], str]) -> str:
    holding = [(amount, name) for amount, name in shares if amount]
    if not holding:
        return ""
    parts = [f"{name} holds {show(amount)}" for amount, name in holding[:MOST_HOLDERS]]
    rest = holding[MOST_HOLDERS:]
    if rest:
        parts.append(f"{len(rest)} more hold {show(sum(amount for amount, _ in rest))}")
    return f" ({', '.join(parts)})"


def _times(free: int, each: int, most: int) -> int:
    return min(free // each, most) if each else most


def _cores(units: int) -> str:
    """Cores with two decimals; tiny amounts with more.

    >>> _cores(61440), _cores(2 * CPU_UNIT), _cores(66)
    ('0.94', '2', '0.001')
    """
    return (
        f"{units / CPU_UNIT:.2f}".rstrip("0").rstrip(".")
        if units >= CPU_UNIT // 100
        else format_cpus(units)
    )


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _asked(cpu_units: int, memory_bytes: int, n: int) -> str:
    return f"{n} times {_amount(cpu_units, memory_bytes)}" if n > 1 else _amount(cpu_units, memory_bytes)


def _amount(cpu_units: int, memory_bytes: int) -> str:
    return f"{format_cpus(cpu_units)} cpus and {format_memory(memory_bytes)}"
