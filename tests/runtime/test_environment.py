"""Names of environment variables are spelled out in one file only."""

import ast
import pathlib

from cmpi._runtime import environment

ROOT = pathlib.Path(__file__).parents[2]


def names_in(path):
    return {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and str(node.value).strip("b'\"").startswith(environment.PREFIX)
    }


def test_environment_variable_names_are_spelled_in_one_file_only():
    files = [*ROOT.glob("cmpi/**/*.py"), *ROOT.glob("launcher/**/*.py")]
    spelled = {str(path): names_in(path) for path in files if names_in(path)}
    home = str(ROOT / "cmpi/_runtime/environment.py")
    assert list(spelled) == [home], spelled
    assert len(spelled[home]) >= 10


def test_environment_variable_names_are_unique():
    values = [value for value in vars(environment).values() if str(value).startswith(environment.PREFIX)]
    assert len(values) == len(set(values))
