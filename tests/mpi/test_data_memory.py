"""Three gigabytes go through workers that may use 300 MiB each: one that used more would be killed."""

import pytest

from tests.mpi.conftest import mpi_kind

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PROGRAM = """
import os, sys
import cmpi
from cmpi import ProcessPool, Resources, data

def texts(i):
    "A thousand texts of 10,000 characters, each different from all others."
    return (f"{(i * 1000 + j) * 7919 % 300_000:010}" + "." * 9990 for j in range(1000))

cmpi.init()
with ProcessPool(2, resources=Resources(memory="300 MiB")) as pool:
    rows = data.range(300, pool=pool).options(memory="16 MiB", spill_folder=sys.argv[1]).flat_map(texts)
    few = data.range(1000, pool=pool).map(lambda x: (f"{x:010}" + "." * 9990, x))
    if sys.argv[2] == "sort":
        print(rows.sort().map(len).sum())
    elif sys.argv[2] == "group_by":
        print(10_000 * rows.group_by(into=data.count()).map(lambda pair: pair[1]).sum())
    else:
        print(3_000_000 * rows.map(lambda text: (text, 1)).inner_join(few).count())
    print(pool.statistics().deaths, os.listdir(sys.argv[1]))
"""


@pytest.mark.parametrize("operator", ["sort", "group_by", "join"])
def test_an_input_ten_times_the_memory_limit_is_sorted_grouped_and_joined(job, tmp_path, operator):
    if mpi_kind() != "openmpi":
        pytest.skip("takes minutes, and nothing in it depends on MPI: it runs on Open MPI")
    spill = tmp_path / "spill"
    spill.mkdir()
    result = job(PROGRAM, str(spill), operator, timeout=300)
    assert result.out == "3000000000\n0 []\n" and result.code == 0, result
