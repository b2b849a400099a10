"""An input many times as large as the memory that tasks may use."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PRELUDE = """
import json, re, sys
from cmpi import data

def peak():  # getrusage's would be that of whoever started this process, if it is larger
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10
options = dict(memory="4 MiB", spill_folder=sys.argv[1])
"""

ROWS = """
rows = data.range(200_000, pool=data.Serial()).map(lambda x: f"{x * 7919 % 200_000:0600}")
rows = rows.options(**options)
pairs = rows.map(lambda text: (text, 1))
rows.take(10).collect()
before = peak()
counts = [
    rows.group_by(into=data.count()).map(lambda pair: pair[1]).sum(),
    rows.sort().filter(lambda text: len(text) == 600).count(),
    pairs.inner_join(pairs).count(),
    rows.enumerate().count(),
]
print(json.dumps([counts, peak() - before]))
"""

TABLES = """
import pyarrow as pa
def table(numbers):
    return pa.table({"id": numbers, "text": [f"{x * 7919 % 200_000:0600}" for x in numbers]})
rows = data.range(200_000, pool=data.Serial()).map_batches(table, format="list", n=1000)
rows = rows.options(**options)
rows.inner_join(rows, on="id").take(10).collect()
before = peak()
counts = [
    rows.inner_join(rows, on="id").count(),
    rows.left_join(rows.select("text"), on="text").count(),
    rows.group_by("text", into=data.count()).map(lambda pair: pair[1]).sum(),
]
print(json.dumps([counts, peak() - before]))
"""


@pytest.mark.parametrize("program", [ROWS, TABLES], ids=["rows", "tables"])
def test_groups_sorts_and_joins_of_130_mb_use_a_fraction_of_that_memory(tmp_path, program):
    if program is TABLES:
        pytest.importorskip("pyarrow")
    command = [sys.executable, "-c", PRELUDE + program, str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    counts, mebibytes = json.loads(out)
    assert set(counts) == {200_000} and mebibytes < 60
    assert list(tmp_path.iterdir()) == []
