import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi._core.python_command import interpreter_of, is_python, through


@pytest.mark.parametrize(
    "name", ["python", "python3", "python3.12", "/opt/py/bin/python3.13t", "pypy3", "pypy3.10"]
)
def test_an_interpreter_is_known_by_its_name(name):
    assert is_python(name)


@pytest.mark.parametrize(
    "name", ["python2", "python2.7", "pythonw", "ipython", "bpython", "/python/sh", "py", ""]
)
def test_other_programs_are_not_taken_for_one(name):
    assert not is_python(name)


@pytest.mark.parametrize(
    "command, expected",
    [
        ("python job.py -c x", "python R '' job.py -c x"),
        ("python -u -X dev job.py", "python -u -X dev R '' job.py"),
        ("python -Xdev -W error job.py", "python -X dev -W error R '' job.py"),
        ("python -Im mod -x", "python -I R -m mod -x"),
        ("python -IS -mmod", "python -IS R -m mod"),
        ("python -uc pass -v", "python -u R -c pass -v"),
        ("python --check-hash-based-pycs never a.py", "python --check-hash-based-pycs never R '' a.py"),
    ],
)
def test_the_same_program_is_run_with_the_same_options_and_arguments(command, expected):
    words = [word if word != "''" else "" for word in expected.split()]
    assert through(command.split(), "R") == words


@pytest.mark.parametrize(
    "command",
    [
        "python",
        "python -",
        "python -V",
        "python -i a.py",
        "python --help",
        "python -c",
        "python -X",
        "python -x a.py",
    ],
)
def test_a_command_that_runs_no_program_is_left_alone(command):
    assert through(command.split(), "R") is None


@given(st.lists(st.text(string.ascii_letters + "-.3", max_size=4), max_size=6))
def test_every_command_is_parsed_without_errors_and_keeps_its_arguments(words):
    command = through(["python", *words], "R")
    if command is not None:
        after = command[command.index("R") + 3 :]
        assert command[0] == "python" and words[len(words) - len(after) :] == after


@pytest.mark.parametrize(
    "head, words",
    [
        (b"#!/usr/bin/python3\nimport x", ["/usr/bin/python3"]),
        (b"#! /v/bin/python -I -u\n", ["/v/bin/python", "-I -u"]),
        (b"#!/usr/bin/env python3\n", ["python3"]),
        (b"#!/usr/bin/env -S python3 -u\n", ["/usr/bin/env", "-S python3 -u"]),
        (b"#!\n", []),
        (b"\x7fELF", []),
    ],
)
def test_a_scripts_first_line_names_its_interpreter(head, words):
    assert interpreter_of(head) == words
