"""Files in a user's folders never replace modules that cmpi imports."""

import os
import subprocess
import sys

from cmpi._runtime import programs

SHOW = """
import os, sys
def main():
    library = os.path.dirname(os.__file__)
    print(sys.path[:2] == [library, library + "/lib-dynload"])
    print(*sys.path, sep=chr(10))
"""


def show(folder, **environment):
    (folder / "show_path.py").write_text(SHOW)
    argv = [sys.executable, *programs.isolated("show_path:main")]
    environment = {**os.environ, "PYTHONPATH": str(folder)} | environment
    out = subprocess.check_output(argv, cwd=folder, env=environment, text=True)
    first, *path = out.splitlines()
    return first == "True", path


def test_the_standard_library_comes_first_and_the_working_folder_last(tmp_path):
    first, path = show(tmp_path)
    assert first
    assert path.count(str(tmp_path)) == 1 and path.index(str(tmp_path)) >= len(path) - 2


def test_other_folders_of_pythonpath_come_before_installed_packages(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    _, path = show(tmp_path, PYTHONPATH=f"{tmp_path}:{other}")
    packages = next(i for i, folder in enumerate(path) if folder.endswith("-packages"))
    assert path.index(str(other)) < packages


def test_the_folder_of_the_program_is_not_searched(tmp_path):
    _, path = show(tmp_path)
    assert not [folder for folder in path if folder.endswith("cmpi/_runtime")]


def test_a_package_of_the_same_name_is_not_taken_for_cmpi(tmp_path):
    (tmp_path / "cmpi").mkdir()
    (tmp_path / "cmpi" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    first, _ = show(tmp_path)
    assert first
