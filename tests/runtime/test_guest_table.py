"""The root's table of guests: how their ends are noticed, and which of their frames are ignored."""

import os
import socket
import subprocess
import sys

import pytest

from cmpi._core.protocol import guest_root, launcher_root, monitor_root
from cmpi._core.protocol.process_root_connections import Leaving
from cmpi._core.protocol.process_root_waits import Blocked
from cmpi._runtime.root.guest_table import JOIN_S, GuestTable
from cmpi._runtime.root.root_loop import RootLoop
from cmpi._transport.control_socket import ControlSocket


class Job:
    """Replaces the job's machine, and records its events."""

    def __init__(self):
        self.heard, self.processes = [], {}

    def guest_up(self, label, host, now_s):
        pid = 100 + len(self.processes)
        self.processes[pid] = type("Process", (), {"title": label, "summary": "", "status": None})
        return pid, []

    def guest_ended(self, pid, status, now_s):
        self.heard.append((pid, status.code, status.signal))
        self.processes[pid].status = status
        return []

    def interrupt(self, signal, now_s, because, code):
        self.heard.append((because, code))
        return []

    def has_ended(self, pid):
        return pid in self.processes and self.processes[pid].status is not None

    def from_rank(self, pid, frame, now_s):
        self.heard.append((pid, frame))
        return []


class Peers:
    """Replaces the root's connections."""

    def __init__(self):
        self.sent, self.dropped = [], []

    def send(self, peer, frame):
        self.sent.append(frame)

    def drop(self, peer):
        if peer not in self.dropped:
            self.dropped.append(peer)
            peer.gone(peer)


class Peer:
    def __init__(self, sock):
        self.stream, self.title = ControlSocket(sock, {}), ""
        self.on_frame = self.gone = None


class House:
    """A table, and one guest of it: a process that this test has started."""

    def __init__(self, keeper=False, folder="/no-folder", first=False):
        self.job, self.loop = Job(), RootLoop()
        self.process = subprocess.Popen(
            [sys.executable, "-c", HELD.format(os.getpid())], stdout=subprocess.PIPE
        )
        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind("\0cmpi test " + str(os.getpid()))
        self.door.listen()
        ours, _ = self.door.accept()
        number = launcher_root.FIRST_GUEST if first else self.process.pid if keeper else 0
        self.table = GuestTable(
            self.job, "here", str(folder), "/no-shm", self.loop, lambda _: None, print, number
        )
        self.table.peers = Peers()
        self.peer = Peer(ours)
        self.table.take_in(self.peer, guest_root.GuestUp("python"))

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.peer.stream.close()
        self.door.close()


HELD = """
import socket, time
connection = socket.socket(socket.AF_UNIX)
while connection.connect_ex("\\0cmpi test {}"):
    time.sleep(0.01)
time.sleep(60)
"""


@pytest.fixture(params=[False, True], ids=["of a job", "the keeper"])
def house(request, tmp_path):
    house = House(request.param, tmp_path)
    yield house
    house.close()


def test_a_guest_learns_the_shared_memory_folder_of_its_job(house):
    assert house.table.peers.sent == [guest_root.GuestMayJoin("/no-shm")]
    assert len(house.table) == 1 and 100 in house.table


def test_a_guest_ends_with_its_process_even_if_its_connection_stays_open(house):
    house.process.kill()
    while house.table:
        house.loop.turn(10)
    assert [it for it in house.job.heard if it[0] == 100] == [(100, 1, 0)]


def test_a_job_ends_with_0_when_its_owner_leaves(tmp_path):
    house = House(True, tmp_path)
    house.peer.on_frame(house.peer, Leaving())
    house.table.peers.drop(house.peer)
    house.close()
    because = "the process for which the job was started has left it"
    assert house.job.heard == [(100, Leaving()), (because, 0), (100, 0, 0)]


def test_files_that_a_guest_left_in_the_job_folder_are_removed(house, tmp_path):
    for name in ("0000064.bell", "0000065.bell"):  # of process 100, and of another
        (tmp_path / name).touch()
    house.table.peers.drop(house.peer)
    assert os.listdir(tmp_path) == ["0000065.bell"]


def test_killing_a_guest_detaches_it_and_spares_its_process(house):
    house.table.order(100, monitor_root.Signal(15))
    assert (100, 143, 15) in house.job.heard and house.process.poll() is None


def test_a_waiting_guest_is_never_part_of_a_deadlock(house):
    house.peer.on_frame(house.peer, Blocked(1, ["recv"]))
    assert house.job.heard == []


def test_a_job_whose_owner_exited_before_it_began_ends_at_once():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    job = Job()
    table = GuestTable(job, "here", "/no-folder", "/no-shm", RootLoop(), lambda _: None, print, ended.pid)
    table.start()
    assert [code for _, code in job.heard] == [0]


def test_the_first_guest_becomes_the_keeper_of_a_job_that_is_there_for_it(tmp_path):
    house = House(folder=tmp_path, first=True)
    house.table.start()
    assert house.table.deadline_s is None
    house.table.peers.drop(house.peer)
    house.close()
    assert next(because for because, *_ in house.job.heard).endswith("has left it")


def test_a_job_whose_guest_does_not_come_ends():
    job = Job()
    first = launcher_root.FIRST_GUEST
    table = GuestTable(job, "here", "/no-folder", "/no-shm", RootLoop(), lambda _: None, print, first)
    table.start()
    table.tick(table.deadline_s - 1.0)
    assert job.heard == [] and table.deadline_s > JOIN_S
    table.tick(table.deadline_s)
    assert [code for _, code in job.heard] == [0] and table.deadline_s is None
