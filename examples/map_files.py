"""Word counts of many small files, by directory: a map over files, grouped as results come.

    cmpirun python map_files.py [FOLDER]

Without a folder it makes 2,000 files in a temporary one first.
"""

import pathlib
import random
import sys
import tempfile
from collections import Counter

import cmpi

WORDS = ["rank", "slot", "host", "credit", "eager", "channel", "spawn", "monitor", "bridge", "scheduler"]


def count(path: str) -> tuple[str, Counter[str]]:
    """Count the words of one file; return its directory, too."""
    file = pathlib.Path(path)
    return file.parent.name, Counter(file.read_text().split())


def make_files(folder: pathlib.Path, n: int) -> None:
    """Make n files with some words, in ten directories."""
    choice = random.Random(7)
    for i in range(10):
        (folder / f"part{i}").mkdir()
    for i in range(n):
        (folder / f"part{i % 10}" / f"{i}.txt").write_text(" ".join(choice.choices(WORDS, k=50)))


def count_all(folder: pathlib.Path) -> dict[str, Counter[str]]:
    """Count the words of all files below a folder, by directory."""
    groups: dict[str, Counter[str]] = {}
    paths = (str(path) for path in folder.rglob("*.txt"))  # read as they are needed, not all at once
    with cmpi.ProcessPool() as pool:
        for group, words in pool.map(count, paths, ordered=False, progress="files"):
            groups.setdefault(group, Counter()).update(words)
    return groups


if __name__ == "__main__":
    cmpi.init()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        if len(sys.argv) < 2:
            make_files(folder, 2000)
        for group, words in sorted(count_all(folder).items()):
            print(f"{group}: {words.total()} words, most often {words.most_common(1)[0][0]}")
