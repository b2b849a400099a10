"""Runs console blocks; `python -m tests.docs.consoles PAGE...` writes what they print into the pages."""

from __future__ import annotations

import difflib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence

from tests.docs.blocks import ROOT, Block, blocks, constant, same_output

HOME, HOST = "/home/me", "laptop"  # what pages show instead of the real folder and host
MARK = "--- 5c1e4d0b: a command has ended"


def set_up(folder: pathlib.Path, page: pathlib.Path) -> None:
    """Give the folder what a page needs: its programs, the repository's examples and hostfiles."""
    for name in ("examples", "hostfiles"):
        (folder / name).symlink_to(ROOT / name)
    for block in blocks(page):
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text + "\n")


def run(
    block: Block,
    call: Callable[[list[str]], str],
    folder: pathlib.Path,
    rename: Callable[[str], str] = lambda text: text,
) -> list[tuple[str, str, str]]:
    """Run a console block's commands in one shell, and return each with its shown and its real output.

    Args:
        block: The block.
        call: Runs an argv in the page's folder and returns what it prints.
        folder: The page's folder. In the output its name is replaced by `HOME`, and the host's name by
            `HOST`.
        rename: Changes names in commands and shown outputs, such as those of hosts.
    """
    commands = [(rename(command), rename(shown)) for command, shown in block.commands()]
    script = "".join(f"{command}\n(s=$?; echo; echo '{MARK}'; exit $s)\n" for command, _ in commands)
    printed = call(["bash", "-c", f"export LC_ALL=C.UTF-8; exec 2>&1; {script}"]).replace(str(folder), HOME)
    printed = re.sub(rf"\b{re.escape(os.uname().nodename)}\b", HOST, printed)
    outputs = [output.removesuffix("\n") for output in printed.split(f"\n{MARK}\n")]
    return [(command, shown, output) for (command, shown), output in zip(commands, outputs)]


def differences(ran: Sequence[tuple[str, str, str]]) -> str:
    """How the output differs from what the page shows; "" if it does not."""
    found = []
    any_order = any("cmpirun" in command for command, _, _ in ran)
    for command, shown, output in ran:
        if not same_output(shown, output, any_order=any_order):
            page, now = (constant(text).splitlines() for text in (shown, output))
            found += [
                f"$ {command}",
                *difflib.unified_diff(page, now, "the page shows", "it printed", lineterm="", n=99),
            ]
    return "\n".join(found)


def _update(page: pathlib.Path, environment: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        set_up(folder, page)

        def call(argv: list[str]) -> str:
            return subprocess.run(argv, cwd=folder, env=environment, stdout=-1, text=True).stdout

        text = page.read_text()
        for block in blocks(page):
            if block.language == "console" and block.runs:
                ran = run(block, call, folder)
                if differences(ran):
                    new = "\n".join(f"$ {command}\n{output}".rstrip() for command, _, output in ran)
                    assert text.count(block.text) == 1, f"{block.place}: there is another block like it"
                    text = text.replace(block.text, new)
                    print(f"{block.place}: changed")
        page.write_text(text)


if __name__ == "__main__":
    here = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    for argument in sys.argv[1:]:
        _update(pathlib.Path(argument).resolve(), {**os.environ, "PATH": here})
