"""The hosts that a scheduler has allocated, from its environment and file."""

import pytest

from cmpi._base.units import CPU_UNIT
from cmpi.errors import UsageError
from cmpi.launcher.hosts.allocation import flux_hosts, hosts, in_flux, in_slurm, kubectl, source

PBS = {"PBS_JOBID": "7.server", "PBS_NODEFILE": "/pbs"}
LSF = {"LSB_JOBID": "7", "LSB_DJOB_HOSTFILE": "/lsf"}
PODS = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "OMPI_MCA_orte_default_hostfile": "/etc/mpi/hostfile"}
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


def test_the_mpi_operator_names_pods_in_either_form():
    found = hosts(source(PODS), "job-worker-0.job.ns.svc slots=2\njob-worker-1.job.ns.svc slots=2\n", PODS)
    assert [(it.name, it.slots) for it in found] == [(f"job-worker-{i}.job.ns.svc", 2) for i in (0, 1)]
    hydra = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HYDRA_HOST_FILE": "/etc/mpi/hostfile"}
    found = hosts(source(hydra), "job-worker-0:3\n", hydra)  # one pod, but not the launcher's
    assert [(it.name, it.slots) for it in found] == [("job-worker-0", 3)]
    assert source({"HYDRA_HOST_FILE": "/mine"}) is None
    assert kubectl("#!/bin/sh\nexec ssh $@\n") == ""


R = """{"version": 1, "execution": {"R_lite": [{"rank": "0,2", "children": {"core": "0-3", "gpu": "0"}},
{"rank": "1", "children": {"core": "1,3-4"}}], "nodelist": ["n[08-09],big"], "starttime": 0}}"""


def test_flux_names_hosts_and_cores():
    assert [(it.name, it.slots, it.cpu_units // CPU_UNIT) for it in flux_hosts(R)] == [
        ("n08", 4, 4),
        ("n09", 3, 3),
        ("big", 4, 4),
    ]
    one = '{"execution": {"R_lite": [{"rank": "0", "children": {"core": "0-3"}}], "nodelist": ["n1"]}}'
    assert flux_hosts(one) == []
    assert in_flux({"FLUX_URI": "local:///run/flux"}) and not in_flux({})
    assert not in_flux({"FLUX_URI": "local:///run/flux", "FLUX_JOB_ID": "f1"})


@pytest.mark.parametrize(
    "text", ["", "flux: command not found", "[]", '{"execution": 1}', R.replace("big", "big,x")]
)
def test_an_unexpected_answer_of_flux_is_shown(text):
    with pytest.raises(UsageError, match=r"cannot read the hosts of this Flux instance.*--host"):
        flux_hosts(text)


@pytest.mark.parametrize("environment", [{}, {"PBS_NODEFILE": "/old"}, PBS | {"SLURM_JOB_ID": "7"}])
def test_leftover_scheduler_variables_and_slurm_name_no_hostfile(environment):
    assert source(environment) is None


def test_slurm_counts_nodes():
    assert in_slurm({"SLURM_JOB_NUM_NODES": "2"})
    assert not in_slurm({"SLURM_JOB_NUM_NODES": "1"}) and not in_slurm({})


@pytest.mark.parametrize(("environment", "text"), [(PBS, "a\nb 2\n"), (SGE, "a 2 q x\nb two q x\n")])
def test_an_unknown_format_is_refused_with_file_and_line(environment, text):
    with pytest.raises(UsageError, match=r"^/...:2: .* writes .*; found: 'b .*--host"):
        hosts(source(environment), text, environment)
