"""The hosts that a scheduler has allocated, from its environment and file."""

import pytest

from cmpi._base.units import CPU_UNIT
from cmpi.errors import UsageError
from cmpi.launcher.hosts.allocation import hosts, in_slurm, source

PBS = {"PBS_JOBID": "7.server", "PBS_NODEFILE": "/pbs"}
LSF = {"LSB_JOBID": "7", "LSB_DJOB_HOSTFILE": "/lsf"}
SGE = {"JOB_ID": "7", "PE_HOSTFILE": "/sge"}


@pytest.mark.parametrize(
    ("environment", "text", "expected"),
    [
        (PBS, "a\na\nb\n", [("a", 2, 2), ("b", 1, 1)]),
        (PBS | {"NCPUS": "8"}, "a\nb\n", [("a", 1, 8), ("b", 1, 8)]),
        (LSF, "a\nb\na\n", [("a", 2, 2), ("b", 1, 1)]),
        (SGE, "a 4 all.q@a UNDEFINED\nb 2 all.q@b <NULL>\n", [("a", 4, 4), ("b", 2, 2)]),
        (PBS, "a\na\n", []),
        (LSF, "", []),
    ],
)
def test_each_scheduler_names_hosts_and_slots(environment, text, expected):
    found = source(environment)
    specs = hosts(found, text, environment)
    assert [(it.name, it.slots, it.cpu_units // CPU_UNIT) for it in specs] == expected


@pytest.mark.parametrize("environment", [{}, {"PBS_NODEFILE": "/old"}, PBS | {"SLURM_JOB_ID": "7"}])
def test_left_variables_and_slurm_name_no_file(environment):
    assert source(environment) is None


def test_slurm_counts_nodes():
    assert in_slurm({"SLURM_JOB_NUM_NODES": "2"})
    assert not in_slurm({"SLURM_JOB_NUM_NODES": "1"}) and not in_slurm({})


@pytest.mark.parametrize(("environment", "text"), [(PBS, "a\nb 2\n"), (SGE, "a 2 q x\nb two q x\n")])
def test_another_form_is_refused_with_file_and_line(environment, text):
    with pytest.raises(UsageError, match=r"^/...:2: .* writes .*; found: 'b .*--host"):
        hosts(source(environment), text, environment)
