"""A process that has asked for memory is not killed for what others send to it, however many they are."""

MANY = """
import threading, time
import cmpi

N, KIB = 8, 1 << 10

def reads(parent):
    receivers = [cmpi.Receiver[bytes](parent, name=str(i)) for i in range(N)]
    cmpi.Receiver(parent, name="go").recv()
    most = sum(receiver.statistics().peak for receiver in receivers)
    total = sum(len(message) for receiver in receivers for message in receiver)
    cmpi.Sender(parent).send((total // KIB, most // KIB))

def sends(sender):
    for _ in range(96):
        sender.send(b"x" * (256 * KIB))
    sender.close()

if __name__ == "__main__":
    cmpi.init()
    reader = cmpi.spawn(reads, resources=cmpi.Resources(cpus=0.1, memory="100 MiB"))
    senders = [cmpi.Sender[bytes](reader, name=str(i)) for i in range(N)]
    threads = [threading.Thread(target=sends, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    while any(t.is_alive() and not s.statistics().waiting for t, s in zip(threads, senders)):
        time.sleep(0.01)
    cmpi.Sender(reader, name="go").send(True)
    total, most = cmpi.Receiver(reader).recv()
    print(total == N * 24 * KIB, most <= 26 * KIB or most, cmpi.wait(reader))
"""


def test_all_windows_together_stay_within_the_receivers_memory_limit(jobs):
    result = jobs.run("cmpirun", "--output", "plain", "python", jobs.script(MANY))
    assert (result.out, result.code) == ("True True 0\n", 0), result
