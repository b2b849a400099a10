"""A job on its own host starts there, whatever batch allocation the environment names."""

import pytest

pytestmark = pytest.mark.slow

HOSTS = "nowhere.invalid\n"  # the only host of the allocation, whose name does not exist
ALLOCATIONS = {
    "PBS": {
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_JOBID": "7.x",
        "PBS_NODEFILE": "HOSTS",
        "PBS_O_WORKDIR": "/",
    },
    "LSF": {
        "LSB_JOBID": "7",
        "LSB_DJOB_HOSTFILE": "HOSTS",
        "LSB_HOSTS": HOSTS.replace("\n", " "),
        "LSB_MCPU_HOSTS": HOSTS.replace("\n", " 1 "),
    },
    "Grid Engine": {
        "JOB_ID": "7",
        "PE_HOSTFILE": "HOSTS",
        "SGE_ROOT": "/nowhere",
        "ARC": "lx-amd64",
        "NSLOTS": "1",
        "NHOSTS": "1",
    },
    "Slurm": {
        "SLURM_JOB_ID": "7",
        "SLURM_JOBID": "7",
        "SLURM_NODELIST": "nowhere.invalid",
        "SLURM_JOB_NODELIST": "nowhere.invalid",
        "SLURM_NNODES": "1",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_TASKS_PER_NODE": "2",
        "SLURM_JOB_CPUS_PER_NODE": "2",
    },
    "Flux": {"FLUX_JOB_ID": "7", "FLUX_URI": "local:///nowhere"},
    "hostfiles": {
        "HYDRA_HOST_FILE": "HOSTS",
        "COBALT_NODEFILE": "HOSTS",
        "OMPI_MCA_orte_default_hostfile": "HOSTS",
        "PRTE_MCA_prte_default_hostfile": "HOSTS",
    },
}


@pytest.mark.parametrize("system", ALLOCATIONS)
def test_a_job_on_one_host_stays_there(jobs, system):
    hosts = jobs.folder / "hosts"
    hosts.write_text(HOSTS)
    settings = {name: value.replace("HOSTS", str(hosts)) for name, value in ALLOCATIONS[system].items()}
    script = jobs.script("import cmpi; print(cmpi.wait(cmpi.spawn(lambda parent: None)).ok)")
    result = jobs.run("cmpirun", "-n", "2", "--output", "plain", "python", script, env=settings)
    assert (result.code, result.out, result.err) == (0, "True\nTrue\n", "")
