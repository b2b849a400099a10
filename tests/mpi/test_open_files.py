"""Jobs near the limit of open files."""

import resource

import pytest

pytestmark = pytest.mark.slow


def limited(soft, hard):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    return limit


def test_cmpirun_raises_the_launchers_soft_limit_but_not_the_programs(job):
    """This many processes would end the job if the launcher had 64 descriptors."""
    text = """
import cmpi, resource
def child(parent):
    cmpi.Sender(parent).send(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    cmpi.Receiver(parent).recv()
children = [cmpi.spawn(child, resources=cmpi.Resources(0.001, "1 MiB")) for _ in range(12)]
soft = {cmpi.Receiver(child).recv() for child in children}
print(soft, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
for child in children: cmpi.Sender(child).send(0)
"""
    result = job(text, preexec_fn=limited(64, 4096), timeout=60)
    assert (result.code, result.out) == (0, "{64} 64\n"), result


def test_a_spawn_at_the_descriptor_limit_fails_with_the_reason_and_the_job_goes_on(job):
    text = """
import cmpi
def child(parent):
    cmpi.Sender(parent).send(0)
    cmpi.Receiver(parent).recv()
def spawn(): return cmpi.spawn(child, resources=cmpi.Resources(0.001, "1 MiB"))
children = []
try:
    while True:
        child_ = spawn()
        cmpi.Receiver(child_).recv()
        children.append(child_)
except cmpi.PeerExited as error:
    print(len(children), error)
for child_ in children:
    cmpi.Sender(child_).send(0)
    assert cmpi.wait(child_).ok
"""
    result = job(text, preexec_fn=limited(100, 100), timeout=60)
    assert "could not be started: " in result.out and " may open 100 files" in result.out, result
    assert int(result.out.split()[0]) >= 3 and result.code == 0, result


def test_a_job_can_have_more_short_processes_than_descriptors(job):
    """MPICH's launcher keeps a descriptor for each process that it has started; a slot is started once."""
    text = """
import cmpi
ended = [cmpi.wait(cmpi.spawn(lambda parent: None)).ok for _ in range(120)]
print(len(ended), all(ended))
"""
    result = job(text, preexec_fn=limited(100, 100), timeout=60)
    assert (result.code, result.out) == (0, "120 True\n"), result
