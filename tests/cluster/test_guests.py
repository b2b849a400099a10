"""A guest on one host of a job that has several."""

GUEST = """\
import os
import cmpi

def where(parent):
    inbox = cmpi.Receiver(parent)
    cmpi.Sender(parent).send((os.uname().nodename, inbox.recv(timeout=20)))

if __name__ == "__main__":
    with cmpi.Job(host="h1:2,h2:2") as job:
        for host in ("h2", "h1"):
            child = cmpi.spawn(where, resources=cmpi.Resources(host=host))
            cmpi.Sender(child).send("from the guest")
            print(*cmpi.Receiver(child).recv(timeout=20))
            assert cmpi.wait(child).ok
"""


def test_a_guest_spawns_on_all_hosts_of_its_job_and_talks_to_them(on_hosts, jobs):
    command = on_hosts.hosts.command("h1", "python", jobs.script(GUEST), cwd=jobs.folder)
    result = jobs.run(*command, timeout=60)
    assert result.out.splitlines() == ["h2 from the guest", "h1 from the guest"], result
    assert result.code == 0 and "Traceback" not in result.err, result
