"""A program behaves the same under `python PROGRAM` and through `rank_main`."""

import os
import subprocess
import sys
import zipfile

import pytest

from cmpi._core.python_command import through
from cmpi._runtime import programs

PROGRAM = '''\
"""A docstring."""
import os, pickle, sys
class C: pass
def names():
    left_out = "__loader__", "__builtins__"
    own = {k: v for k, v in globals().items() if k.startswith("__") and k not in left_out}
    return {k: v.name if k == "__spec__" and v else v for k, v in own.items()}
print(sys.argv, sys.orig_argv[1:], sys.path, sys.flags)
print(sorted(names().items(), key=lambda item: item[0]), type(__loader__).__name__, __builtins__)
print(type(pickle.loads(pickle.dumps(C()))) is C, __import__("__main__").C is C, len(sys._current_frames()))
if sys.argv[-1] == "interrupt": raise KeyboardInterrupt
if sys.argv[-1] == "exit": sys.exit(5)
if sys.argv[-1] == "words": raise SystemExit("words")
if sys.argv[-1] == "hook": sys.excepthook = lambda *what: print("a hook", what[:2], what[2].tb_lineno)
if sys.argv[-1] == "bad hook": sys.excepthook = lambda *what: 1 / 0
import atexit
atexit.register(lambda: print("at exit", getattr(sys, "last_value", None)))
def deep(): raise ValueError("deep")
if len(sys.argv) > 1: deep()
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "job.py").write_text(PROGRAM)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__main__.py").write_text(PROGRAM)
    (package / "__init__.py").touch()
    with zipfile.ZipFile(tmp_path / "job.zip", "w") as archive:
        archive.writestr("__main__.py", PROGRAM)
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "link.py").symlink_to("../job.py")
    (tmp_path / "latin.py").write_bytes(
        "# coding: latin-1\nprint(ascii('\u00e9'), __file__)\n".encode("latin-1")
    )
    (tmp_path / "wrong.py").write_text("def f(:\n")
    return tmp_path


def outcome(folder, command):
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


COMMANDS = [
    "job.py", "./job.py a", "-u job.py exit", "-I job.py words", "-S job.py hook", "-E elsewhere/link.py x",
    "-m job", "-m job raise", "-m package exit", "-Im package", "package", "package raise",
    "job.zip", "-I job.zip",
    "latin.py", "wrong.py", "missing.py", "-m missing", "job.py interrupt", "-X utf8 -W error job.py",
    "-c print(__name__,__import__('sys').argv,__import__('sys').path) a -c", "-c __import__('sys').exit(3)",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_program_behaves_the_same_under_python_and_under_rank_main(folder, command):
    argv = [sys.executable, *command.split()]
    plain = outcome(folder, argv)
    ours = outcome(folder, through(argv, programs.path_of(programs.RANK_MAIN)))
    assert ours == plain


def test_a_failing_excepthook_is_shown_together_with_the_original_exception(folder):
    argv = through([sys.executable, "job.py", "bad hook"], programs.path_of(programs.RANK_MAIN))
    code, _, err = outcome(folder, argv)
    assert code == 1 and "ZeroDivisionError" in err and "ValueError: deep" in err


def test_os_exit_works_in_a_program_without_mpi(folder):
    argv = through([sys.executable, "-c", "import os; os._exit(0)"], programs.path_of(programs.RANK_MAIN))
    assert outcome(folder, argv) == (0, "", "")
