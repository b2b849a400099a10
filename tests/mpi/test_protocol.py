"""A process that violates the protocol is ended, and no other."""

TEXT = """
import cmpi
from cmpi._core.protocol import process_root
from cmpi._runtime.process import context

def speaks_as_the_root(parent):
    context.current().root.tell(process_root.Refused(1, False, "no"))
    cmpi.Receiver(parent).recv()

def joins_twice(parent):
    context.current().root.tell(process_root.JoinJob(memory="", python=""))
    cmpi.Sender(parent).send("is borne")

print(cmpi.wait(cmpi.spawn(speaks_as_the_root)).signal, cmpi.Receiver(cmpi.spawn(joins_twice)).recv())
"""


def test_a_process_that_sends_a_forbidden_frame_is_ended_and_named_and_the_job_goes_on(job):
    result = job(TEXT)
    assert (result.code, result.out) == (0, "9 is borne\n"), result
    (line,) = result.err.splitlines()
    assert line.startswith("cmpirun: closed the connection of the monitor of speaks_as_the_root · "), line
    assert "frame 52 came where one of these is expected: JoinJob, Spawn" in line
