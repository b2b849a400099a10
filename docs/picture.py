"""Draws the picture of a real run, docs/_static/run.svg: python docs/picture.py (needs cmpi[docs])."""

import io
import os
import pathlib
import subprocess
import sys
import tempfile

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

DOCS = pathlib.Path(__file__).parent
PICTURE = DOCS / "_static/run.svg"
COMMAND = ["cmpirun", "-n", "2", "--color", "always", "python", "roots.py"]
SHOWN = "cmpirun -n 2 python roots.py"
WIDTH = 88
THEME = TerminalTheme(
    (26, 27, 38),
    (192, 202, 245),
    [(21, 22, 30), (247, 118, 142), (158, 206, 106), (224, 175, 104),
     (122, 162, 247), (187, 154, 247), (125, 207, 255), (169, 177, 214)],
    [(86, 95, 137), (255, 140, 160), (180, 225, 130), (240, 195, 130),
     (145, 180, 255), (205, 175, 255), (150, 220, 255), (220, 225, 250)],
)  # fmt: skip


def output() -> str:
    """The output of the run, with its colours, as on a terminal."""
    with tempfile.TemporaryDirectory() as folder:
        readme = (DOCS.parent / "README.md").read_text()
        program = readme.split("```python\n# roots.py\n")[1].split("```")[0]
        (pathlib.Path(folder) / "roots.py").write_text(f"# roots.py\n{program}")
        path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        done = subprocess.run(
            COMMAND,
            cwd=folder,
            env={**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"},
            stdout=-1,
            stderr=-2,
            text=True,
        )
        return done.stdout.replace(folder, "/home/me").replace(os.uname().nodename, "laptop").rstrip()


def draw(text: str) -> str:
    """Draw a terminal with this text, without the fonts that rich would fetch from the network."""
    console = Console(
        width=WIDTH, record=True, force_terminal=True, color_system="truecolor", file=io.StringIO()
    )
    console.print(Text.assemble(("$ ", "bold green"), (SHOWN, "bold")))
    console.print(Text.from_ansi(text))
    svg = console.export_svg(title="", theme=THEME, unique_id="cmpi")
    start, end = svg.index("@font-face"), svg.rindex("@font-face")
    return svg[:start] + svg[svg.index("}", end) + 1 :]


if __name__ == "__main__":
    PICTURE.write_text(draw(output()))
    print(f"{PICTURE} is drawn")
