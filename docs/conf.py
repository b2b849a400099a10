"""Sphinx's configuration for this documentation: python -m sphinx -W -b html docs docs/_build."""

import re
import subprocess
import sys

from docutils import nodes
from docutils.parsers.rst import Directive

import cmpi

project = "cmpi"
author = "cmpi contributors"
copyright = "2026, cmpi contributors"
version = release = cmpi.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
default_role = "py:obj"  # `name` in a docstring: a link if there is such a name, otherwise code
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
napoleon_use_rtype = False
napoleon_use_ivar = True
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"cmpi {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]


class CmpirunHelp(Directive):
    """`{cmpirun-help}`: the options of cmpirun, as it prints them."""

    def run(self) -> list[nodes.Node]:
        command = [sys.executable, "-m", "cmpi.launcher", "--help"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [nodes.literal_block(text, text, language="text")]


OWN_SECTION = re.compile(r"(?:^|(?<= ))(Blocks|Source|Raises): (?=\S)")


def make_fields(app: object, what: str, name: str, of: object, options: object, lines: list[str]) -> None:
    """Turn `Blocks: ...` and similar sections, on a line of their own or within one, into fields."""
    made: list[str] = []
    in_field = False
    for line in lines:
        if not line.strip():
            in_field = False
        parts = OWN_SECTION.split(line)
        if parts[0].strip():
            made.append(f"   {parts[0].strip()}" if in_field else parts[0])
        elif len(parts) == 1:
            made.append(line)
        for section, text in zip(parts[1::2], parts[2::2]):
            if not in_field and made and made[-1].strip():
                made.append("")
            made.append(f":{section}: {text.strip()}")
            in_field = True
    lines[:] = made


def hide_private(app: object, what: str, name: str, of: object, options: object, text: str, result: str):
    """Leave parameters such as `_hint` out of signatures."""
    return (re.sub(r", _\w+: [^,)]*", "", text), result) if text else None


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.add_directive("cmpirun-help", CmpirunHelp)  # type: ignore[attr-defined]
    app.connect("autodoc-process-docstring", make_fields, priority=400)  # type: ignore[attr-defined]
    app.connect("autodoc-process-signature", hide_private)  # type: ignore[attr-defined]
