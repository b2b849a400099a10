"""The examples in cmpi's docstrings print what they show."""

import doctest
import importlib
import pathlib

import pytest

import cmpi

FOLDER = pathlib.Path(cmpi.__file__).parent
EXAMPLES = [
    ".".join(["cmpi", *path.relative_to(FOLDER).with_suffix("").parts])
    for path in sorted(
        {*FOLDER.rglob("*.py"), *(FOLDER / "launcher").rglob("*.py")}
    )  # a link in a checkout
    if ">>> " in path.read_text() and path.name != "__init__.py"
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_print_what_they_show(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_docstrings_have_examples():
    assert "cmpi.identifiers" in EXAMPLES
    if cmpi.identifiers.__file__.endswith(".py"):
        assert doctest.testmod(cmpi.identifiers).attempted
