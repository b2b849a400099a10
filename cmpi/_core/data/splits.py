"""Divides an input into splits. This depends only on the input, never on the number of workers, so that the
same input gives the same splits, and the same seed the same sample."""

from __future__ import annotations

from collections.abc import Iterator

MAX_SPLITS = 64  # of a collection or a range
MAX_CHUNK = 4096  # rows of one split of an iterator


def byte_ranges(nbytes: int, split_bytes: int) -> list[tuple[int, int]]:
    """Ranges (begin, end) that cover a file, of about equal size and at most `split_bytes` each.

    An empty file has none.

    >>> byte_ranges(10, 4), byte_ranges(0, 4)
    ([(0, 3), (3, 6), (6, 10)], [])
    """
    n = -(-nbytes // split_bytes)
    return [(nbytes * i // n, nbytes * (i + 1) // n) for i in range(n)]


def even_ranges(rows: int, most: int = MAX_SPLITS) -> list[tuple[int, int]]:
    """Ranges (begin, end) that cover `rows` rows: `most` of them, or one for each row if there are fewer.

    >>> even_ranges(5, 2), even_ranges(0)
    ([(0, 2), (2, 5)], [])
    """
    n = min(rows, most)
    return [(rows * i // n, rows * (i + 1) // n) for i in range(n)]


def chunk_sizes() -> Iterator[int]:
    """The sizes of an iterator's splits: from 1, for few and expensive rows, to `MAX_CHUNK`."""
    size = 1
    while True:
        for _ in range(8):
            yield size
        size = min(2 * size, MAX_CHUNK)


def groups_by_size(sizes: list[int], split_bytes: int) -> list[tuple[int, int]]:
    """Ranges (begin, end) of consecutive items whose sizes add up to at most `split_bytes`; a larger item
    gets a range of its own. They are as few as possible, and the largest is as small as possible, so that
    workers that take one each end at about the same time.

    >>> groups_by_size([3, 3, 3, 9, 1], 6), groups_by_size([1] * 6, 4)
    ([(0, 2), (2, 3), (3, 4), (4, 5)], [(0, 3), (3, 6)])
    """
    groups = _groups(sizes, split_bytes)
    low, high = 0, split_bytes  # the least limit that gives as few is between them
    while low + 1 < high:
        middle = (low + high) // 2
        found = _groups(sizes, middle)
        if len(found) == len(groups):
            high, groups = middle, found
        else:
            low = middle
    return groups


def _groups(sizes: list[int], limit: int) -> list[tuple[int, int]]:
    """The ranges of consecutive items, each with as many items as the limit allows."""
    groups: list[tuple[int, int]] = []
    begin = total = 0
    for i, size in enumerate(sizes):
        if i > begin and total + size > limit:
            groups.append((begin, i))
            begin, total = i, 0
        total += size
    return [*groups, (begin, len(sizes))] if sizes else []
