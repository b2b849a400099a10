"""Strangers and secrets on a job of several hosts."""

import os
import signal
import sys

from tests.cluster.conftest import without_waiting
from tests.cluster.programs import HOSTS, PRELUDE, SLEEPS, THREE, came_up, end

TMP = os.environ.get("TMPDIR", "/tmp")


def test_the_secret_is_in_no_argv_on_any_host_and_folders_are_for_their_owner(on_hosts, jobs):
    job = on_hosts.start(
        *THREE, "-n", "6", "python", jobs.script(SLEEPS.replace("on_each_host(sleep)", ""))
    )
    for _ in range(6):
        came_up(job)
    secrets = set()
    for host in HOSTS:
        secrets.add(on_hosts.hosts.call(host, "sh", "-c", f"od -An -v -tx1 {TMP}/cmpi-*/secret").strip())
        mode = on_hosts.hosts.call(host, "sh", "-c", f"stat -c %a {TMP}/cmpi-*/secret")
        assert mode.strip() == "600"
    (secret,) = (bytes.fromhex(text.replace("\n", "")) for text in secrets)
    for host in HOSTS:
        argvs = on_hosts.hosts.call(host, "sh", "-c", "cat /proc/[0-9]*/cmdline")
        assert "launcher" in argvs and secret.hex() not in argvs
        environments = on_hosts.hosts.call(host, "sh", "-c", "cat /proc/[0-9]*/environ | od -An -v -tx1")
        assert secret.hex(" ") not in " ".join(environments.split())
        modes = on_hosts.hosts.call(host, "sh", "-c", f"stat -c %a {TMP}/cmpi-* /dev/shm/cmpi-*")
        assert modes.split() == ["700", "700"]
    end(job, jobs, signal.SIGTERM)


def test_garbage_at_the_sockets_of_a_job_has_no_effect(on_hosts, jobs):
    job = on_hosts.start(*THREE, "python", jobs.script(PRELUDE + GARBAGE))
    came_up(job)
    text = (
        "import glob, os, socket, sys\n"
        f"for path in glob.glob('{TMP}/cmpi-*/r*'):\n"
        "    if os.path.basename(path) in ('root', 'rsh'):\n"
        "        for data in (b'', b'GET / HTTP/1.0\\r\\n\\r\\n' * 99, os.urandom(9999)):\n"
        "            s = socket.socket(socket.AF_UNIX); s.connect(path)\n"
        "            try: s.sendall(data)\n"
        "            except OSError: pass\n"
        "            s.close()\n"
        "        print(os.path.basename(path))\n"
    )
    for host, sockets in (("h1", ["root", "rsh"]), ("h2", ["root"])):
        found = sorted(on_hosts.hosts.call(host, sys.executable, "-c", text).split())
        assert found == sockets
    out, err = (text.decode() for text in job.communicate(timeout=40))
    assert out.split() == ["h1", "h2", "h3"] and job.returncode == 0, out + err
    assert not without_waiting(err), err


GARBAGE = """
def late(parent):
    say_where(parent)
    time.sleep(3)
    Sender[str](parent).send(os.uname().nodename)
pids = on_each_host(late)
print("up", flush=True)
print(*(Receiver[str](pid).recv(timeout=20) for pid in pids.values()))
"""
