"""A process that violates the protocol is ended, and no other."""

TEXT = """
import cmpi
from cmpi._core.protocol import process_root
from cmpi._runtime.process import context

def speaks_as_the_root(parent):
    context.current().root.tell(process_root.Refused(1, False, "no"))
    cmpi.Receiver(parent).recv()

def joins_twice(parent):
    context.current().root.tell(process_root.Join(memory="", python=""))
    cmpi.Sender(parent).send("is borne")

print(cmpi.wait(cmpi.spawn(speaks_as_the_root)).signal, cmpi.Receiver(cmpi.spawn(joins_twice)).recv())
"""


def test_a_frame_that_a_process_may_not_send_ends_it_and_the_job_says_which_and_goes_on(job):
    result = job(TEXT)
    assert (result.code, result.out) == (0, "9 is borne\n"), result
    (line,) = result.err.splitlines()
    assert line.startswith("cmpirun: dropped the connection of the monitor of speaks_as_the_root · "), line
    assert "frame 52 came where one of these is expected: Join, Spawn" in line
