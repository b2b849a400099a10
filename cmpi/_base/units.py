"""Converts CPUs and bytes from and to the forms that people write."""

from __future__ import annotations

from cmpi._base.usage_error import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CPU_UNIT = 65536  # the scheduler's units for a logical core, as in Constellation
_SUFFIXES = {
    "": 1, "b": 1,
    "k": 1000, "kb": 1000, "kib": 1 << 10,
    "m": 1000**2, "mb": 1000**2, "mib": 1 << 20,
    "g": 1000**3, "gb": 1000**3, "gib": 1 << 30,
    "t": 1000**4, "tb": 1000**4, "tib": 1 << 40,
}  # fmt: skip


def parse_memory(value: int | str) -> int:
    """Bytes in `value`: an int, or text such as "200 MiB" or "1.5 GB".

    Raises:
        UsageError: Not a number with a known unit, or negative.

    Blocks: never. Source: IEC 80000-13 (KiB, MiB) and SI (kB, MB) prefixes.

    >>> parse_memory("200 MiB"), parse_memory("1.5kB"), parse_memory(7)
    (209715200, 1500, 7)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        number, unit = float(value), ""
        exact = value
    else:
        text = str(value).strip()
        digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
        unit = text[len(digits) :].strip().lower()
        try:
            number = float(digits)
        except ValueError:
            number = -1.0
        exact = int(number * _SUFFIXES.get(unit, 0)) if 0 <= number < 1e30 else -1
    if number < 0 or unit not in _SUFFIXES or exact < 0:
        raise UsageError(
            f'memory is bytes as an int or text such as "200 MiB" or "1.5 GB"; found {value!r}'
        )
    return exact


def parse_cpus(value: float | str) -> int:
    """Scheduler units (1/65536 logical core) in `value` cores, rounded up so that more than 0 stays so.

    Raises:
        UsageError: Not a finite number of cores >= 0.

    Blocks: never. Source: Constellation's `Resources`, which counts in 1/65536.

    >>> parse_cpus(1), parse_cpus(1 / 16), parse_cpus("0.5")
    (65536, 4096, 32768)
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < 1e9:
        raise UsageError(f"cpus is a number of logical cores, such as 0.5 or 4; found {value!r}")
    return -int(-number * CPU_UNIT // 1)


def format_ranks(ranks: Iterable[int]) -> str:
    """Name some ranks in ascending order.

    >>> format_ranks([3]), format_ranks([2, 0])
    ('rank 3', 'ranks 0, 2')
    """
    numbers = sorted(ranks)
    return f"rank{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def format_memory(nbytes: int) -> str:
    """`nbytes` with three digits and a binary unit: "1.50 GiB".

    >>> format_memory(0), format_memory(209715200), format_memory(1610612736)
    ('0 B', '200 MiB', '1.5 GiB')
    """
    value = float(nbytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"


def format_cpus(units: int) -> str:
    """Scheduler units as cores, without trailing zeros.

    >>> format_cpus(65536), format_cpus(4096)
    ('1', '0.0625')
    """
    return f"{units / CPU_UNIT:.4f}".rstrip("0").rstrip(".")
