"""Which hosts a job uses: from schedulers' allocations; the plan and the doctor's view of them."""

import json

FLUX = """#!/bin/sh
[ "$*" = "resource R" ] && echo '{"version": 1, "execution": {"nodelist": ["h[1,3]"], "R_lite": [
{"rank": "0", "children": {"core": "0-1"}}, {"rank": "1", "children": {"core": "0"}}]}}'
"""


KUBEXEC = '#!/bin/sh\nset -x\nPOD_NAME=$1\nshift\n{}/kubectl exec ${{POD_NAME}} -- /bin/sh -c "$*"\n'


KUBECTL = """#!/bin/bash
[ "$1 $2 $4" = "exec -i --" ] || exit 9
exec ssh -T "$3" "$(printf '%q ' "${@:5}")"
"""


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_a_job_runs_in_flux_and_under_the_mpi_operator(on_hosts, jobs):
    bin = jobs.folder / "bin"
    bin.mkdir()
    executable(bin / "flux", FLUX)
    variables = {"FLUX_URI": "local:///run/flux/local", "PATH": f"{bin}:{jobs.environment['PATH']}"}
    script = "import os; print(os.environ['RANK'], os.uname().nodename)"
    result = on_hosts.job(script, options=("--output", "plain", "-n", "3"), env=variables)
    assert sorted(result.out.splitlines()) == ["0 h1", "1 h1", "2 h3"], result
    executable(bin / "kubectl", KUBECTL)
    agent = executable(bin / "kubexec.sh", KUBEXEC.format(bin))
    (jobs.folder / "hostfile").write_text("h2 slots=1\nh3 slots=1\n")
    variables = {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "OMPI_MCA_plm_rsh_agent": agent,
        "OMPI_MCA_orte_default_hostfile": str(jobs.folder / "hostfile"),
    }
    result = on_hosts.job(script, options=("--output", "plain", "-n", "2"), env=variables)
    assert sorted(result.out.splitlines()) == ["0 h2", "1 h3"], result


def test_dry_run_shows_the_plan_and_runs_nothing(on_hosts, jobs):
    options = ("--host", "h1:1,h2:2,h3:4", "--cpus", "3", "--dry-run", "-n", "5")
    result = on_hosts.run(*options, "touch", str(jobs.folder / "ran"))
    assert result.code == 0 and not (jobs.folder / "ran").exists()
    assert "  h2  2 slots, ranks 1-2; 3 cpus and " in result.out, result
    result = on_hosts.run(*options, "--map-by", "node", "--output", "json", "hostname")
    plan = json.loads(result.out)
    assert [(host["host"], host["ranks"]) for host in plan["hosts"]] == [
        ("h1", [0]),
        ("h2", [1, 3]),
        ("h3", [2, 4]),
    ]


def test_the_doctor_looks_at_every_host_and_runs_a_job_on_all(on_hosts):
    result = on_hosts.run("--doctor", "--host", "h1:1,h2:1,h3:1")
    assert result.code == 0 and "a job on all hosts   ok       3 ranks" in result.out, result
    result = on_hosts.run("--doctor", "--host", "h1,h2,h9")
    assert result.code == 2 and "fix: getent hosts h9" in result.out, result
    assert "host h2" in result.out and "free in /dev/shm" in result.out
