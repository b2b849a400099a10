"""The flags of an interpreter, which a process that it spawns inherits."""

import json
import os
import subprocess
import sys

import pytest

ASK = """
import json, sys
from cmpi._runtime.process import inheritance
print(json.dumps([inheritance.flags(), "subprocess" in sys.modules]))
"""


@pytest.mark.parametrize(
    ("given", "imports"),
    [([], False), (["-u"], False), (["-B", "-bb"], True), (["-u", "-Xutf8=1"], True), (["-Werror"], True)],
)
def test_the_flags_of_an_interpreter_are_found_and_none_takes_no_import(given, imports):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONUTF8"] = "1"  # no flag
    command = [sys.executable, *given, "-c", ASK]
    out = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    flags, imported = json.loads(out)
    assert sorted(flags) == sorted(given) and imported == imports
