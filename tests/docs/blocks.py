"""Reads the code blocks of Markdown pages, and compares a console's output with what a page shows.

The conventions for writing a page:

- A `python` block is a program if it asks `if __name__ == "__main__"` or its first line is its name
  (`# ring.py`). It is saved under that name; a program that no console block mentions is run by itself.
- Any other `python` block is a fragment: it must compile, and the names that it takes from cmpi must exist.
- A `console` block has commands behind `$ `, each with what it prints below it. They run in one shell per
  block and in one folder per page, which also has the repository's examples/ and hostfiles/. `...` stands
  for anything in a line, or for any lines. `python -m tests.docs.consoles PAGE` writes the real output
  there.
- `<!-- needs hosts -->` or `<!-- needs slurm -->` above a console block: it runs in tests/cluster. With
  `<!-- needs cluster -->` or `<!-- needs network -->` it does not run; cmpirun's options are checked.
- `bash` and `sh` blocks are scripts, whose syntax is checked; `text` and others are not code.
"""

from __future__ import annotations

import pathlib
import re
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).parents[2]
FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|:{3,})(?P<language>[\w{}+-]*) *(?P<argument>.*)$")
NEEDS = re.compile(r"<!-- needs (?P<what>\w+) -->")
FILE = re.compile(r"# (?P<name>[\w./-]+\.\w+)(?P<remark> .*)?$")


@dataclass
class Block:
    """A fenced block of a page."""

    page: pathlib.Path
    line: int
    language: str
    text: str
    needs: str = ""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str:
        """The name in the first line, or ""."""
        found = FILE.match(self.text.split("\n", 1)[0])
        return found["name"] if found else ""

    @property
    def runs(self) -> bool:
        """Whether it starts a job."""
        if self.language == "console":
            return not self.needs
        return self.language == "python" and "__main__" in self.text

    def commands(self) -> list[tuple[str, str]]:
        """For a console block: each command, with the output that is shown below it."""
        found: list[tuple[list[str], list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append(([line[2:]], []))
            elif found and found[-1][0][-1].endswith("\\") and not found[-1][1]:
                found[-1][0].append(line.removeprefix("> "))
            else:
                assert found, f"{self.place}: a console block begins with a command: `$ cmpirun ...`"
                found[-1][1].append(line)
        return [("\n".join(command), "\n".join(output)) for command, output in found]


def pages() -> list[pathlib.Path]:
    """All pages for users."""
    tops = [path for path in sorted(ROOT.glob("*.md")) if path.name != "CHANGELOG.md"]
    return tops + [path for path in sorted(ROOT.glob("docs/**/*.md")) if "_build" not in path.parts]


def blocks(page: pathlib.Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    needs, opened, body = "", None, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if opened is None:
            if match := NEEDS.search(line):
                needs = match["what"]
            elif match := FENCE.match(line):
                opened, start, body = match, number, []
            elif line.strip():
                needs = ""
        elif line.strip() == opened["ticks"]:
            indent = len(opened["indent"])
            text = "\n".join(part[indent:] for part in body)
            found.append(Block(page, start, opened["language"], text, needs))
            opened, needs = None, ""
        else:
            body.append(line)
    assert opened is None, f"{page}: the last block does not end"
    return found


# Text that differs from run to run, both on the page and in the output.
VARIES = (
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? ?(ns|us|ms|s|h|KiB|MiB|GiB|MB/s|GB/s|%)(?![\w])"), "AMOUNT"),
    (re.compile(r"\b\d+\.\d+\.\d+\w*"), "VERSION"),
    (re.compile(r"\b[0-9a-f]{7}\b"), "PID"),
)
# Below a line of a traceback; only in some versions of Python.
MARKERS = re.compile(r"^[\s~^]*[~^][\s~^]*$")


TITLED = re.compile(r"^(?P<title>rank \d+|\S.* · [0-9a-f]{7}) *(?P<mark>[│!+✗=]) (?P<text>.*)$")


class _Shown:
    """An output, or what a page shows of it, divided into the lines of each process and all others."""

    def __init__(self, text: str) -> None:
        self.rest: list[str] = []
        processes: dict[str, list[str]] = {}
        spawned: list[str] = []
        for line in text.splitlines():
            titled = TITLED.match(line)
            if titled is None:
                if not (
                    MARKERS.match(line) or line.startswith("cmpirun: waiting for ")
                ):  # on a busy machine
                    self.rest.append(constant(line))
            # How many there are in one line, and where that line stands, differs.
            elif titled["mark"] == "+":
                spawned += [constant(f"{titled['title']} + {name}") for name in titled["text"].split(", ")]
            elif titled["mark"] != "✗" and not MARKERS.match(titled["text"]):  # the report may replace it
                processes.setdefault(titled["title"] + titled["mark"], []).append(
                    constant(f"{titled['title']} {titled['mark']} {titled['text']}")
                )
        self.processes = [*processes.values(), sorted(spawned)]


def constant(line: str) -> str:
    """The text with a fixed word in place of each pid, time, version and amount."""
    for pattern, word in VARIES:
        line = pattern.sub(word, line)
    return line.rstrip()


def same_output(shown: str, found: str, *, any_order: bool = False) -> bool:
    """Whether a command printed what a page shows, whatever the pids, times and order among processes.

    >>> same_output("rank 0 │ a\\nf · 0000002 │ b", "f · 000000c │ b\\nrank 0      │ a")
    True
    >>> same_output("rank 0 + f · 0000001, f · 0000002", "rank 0 + f · 000000c\\nrank 0 + f · 000000d")
    True
    >>> same_output("a\\n...\\nz", "a\\nb\\nc\\nz"), same_output("a", "b")
    (True, False)
    """
    page, output = _Shown(shown), _Shown(found)
    if any_order and "..." not in page.rest:
        page.rest.sort()
        output.rest.sort()
    if not _matches(page.rest, output.rest, "..."):
        return False
    left = list(output.processes)
    for lines in page.processes:
        hit = next((other for other in left if _matches(lines, other, "...")), None)
        if hit is None:
            return False
        left.remove(hit)
    return not left or "..." in page.rest


def _matches(shown: list[str], found: list[str], anything: str) -> bool:
    """Whether the lines are equal, where `anything` stands for any number of lines."""
    pattern = "".join(
        "(.*\n)*?" if line == anything else re.escape(line).replace(r"\.\.\.", ".*") + "\n"
        for line in shown
    )
    return re.fullmatch(pattern, "".join(line + "\n" for line in found)) is not None
