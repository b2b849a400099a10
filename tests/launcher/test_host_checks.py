import pytest

from cmpi._core.protocol.launcher_agent import HostFacts
from cmpi.launcher.doctor import findings
from cmpi.launcher.hosts.host_checks import differences, no_agent
from cmpi.launcher.hosts.hostfile import HostSpec

HOST = HostSpec("h2", "me@h2")
HERE = HostFacts(
    node="h1",
    cmpi="0.1",
    python="3.11.2",
    executable="/py",
    mpi4py="4.1.2",
    home="/lib",
    mpi=["mpich", "5.0.2", "/m"],
    cpu_units=1,
    memory_bytes=1,
    cores=[0],
    address="",
    superuser=False,
)


def like(**other):
    fields = {name: getattr(HERE, name) for name in HostFacts.__match_args__}
    return HostFacts(**(fields | other))


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [
        (255, "me@h2: Permission denied (publickey).", "h2: refuses your key. Try: ssh-copy-id me@h2"),
        (255, "Host key verification failed.", "h2: its host key is not known here. Try: ssh me@h2"),
        (
            255,
            "ssh: Could not resolve hostname h2: nope",
            "h2: there is no host of this name. Try: getent hosts h2",
        ),
        (
            255,
            "ssh: connect to host h2 port 22: Connection timed out",
            "h2: cannot be reached. Try: ping h2",
        ),
        (
            255,
            "ssh: connect to host h2 port 22: Connection refused",
            "h2: does not accept ssh connections. Try: system",
        ),
        (127, "bash: line 1: /py: No such file", "h2: has no Python at /py. Try: ssh me@h2 ls -l /py"),
        (
            1,
            "ModuleNotFoundError: No module named 'cmpi.launcher'",
            "pip install '\"'\"'cmpi[mpich]==0.1'\"'\"''",
        ),
        (None, "", "h2: the ssh login took too long. Try: ssh me@h2 true"),
        (
            255,
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n"
            "Offending ED25519 key in /k/known_hosts:3\n"
            '  remove with:\n  ssh-keygen -f "/k/known_hosts" -R "h2"\nHost key verification failed.\n',
            "h2: its host key has changed (see line 3 of /k/known_hosts). "
            'Try: ssh-keygen -f "/k/known_hosts" -R "h2"',
        ),
        (
            255,
            "/root/.ssh/config: line 7: Bad configuration option: x\nterminating, 1 bad option",
            "(see line 7 of /root/.ssh/config)",
        ),
        (3, "first\nsomething else\n", "(exit code 3); it said: something else"),
    ],
)
def test_a_host_without_an_agent_is_named_with_a_remedy(code, said, expected):
    assert expected in no_agent(HOST, "/py", "mpich", "0.1", code, said)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, ""),
        ({"python": "3.11.9"}, ""),
        ({"python": "3.12.1"}, "h2: Python 3.12.1 (/py) is not compatible with 3.11.2 here"),
        (
            {"cmpi": "0.2"},
            "h2: has cmpi 0.2; this host has 0.1. Try: ssh me@h2 /py -m pip install cmpi==0.1",
        ),
        ({"mpi": ["no MPI found"]}, "h2: no MPI found"),
        ({"mpi": ["openmpi", "5.0.11", "/o"]}, "h2: has Open MPI 5.0.11; this host has MPICH 5.0.2."),
        ({"mpi": ["mpich", "4.3.2", "/o"]}, "h2: has MPICH 4.3.2; this host has MPICH 5.0.2."),
        ({"mpi4py": "4.0"}, "h2: has mpi4py 4.0; this host has mpi4py 4.1.2."),
    ],
)
def test_a_host_with_different_software_is_named_with_a_remedy(other, expected):
    found = differences(HOST, like(**other), HERE)
    assert found.startswith(expected) and bool(found) == bool(expected)


def test_the_doctors_row_of_a_host_has_its_own_folders_and_memory():
    room = {"shared_memory_bytes": 1 << 30}
    assert findings.host("h2", "", like(**room)).found.endswith("1 GiB free in /dev/shm")
    small = findings.host("h2", "", like(shared_memory_bytes=64 << 20))
    assert small.state == findings.WARNING and "64" in small.found
    shut = findings.host("h2", "", like(**room, temporary="/tmp cannot be written"))
    assert (shut.state, shut.found) == (findings.FAULT, "/tmp cannot be written") and "TMPDIR" in shut.fix
    fault = findings.host("h2", "h2: refuses your key. Try: ssh-copy-id h2", None)
    assert (fault.found, fault.fix) == ("refuses your key", "ssh-copy-id h2")
    (job,) = findings.real_job(None, "a job on all hosts", "x", ["--host", "h1,h2"])
    assert job.fix == "cmpirun --verbose --host h1,h2 hostname"
