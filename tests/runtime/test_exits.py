"""What a process knows about the ends of others, even if its calls are interrupted."""

import pytest

from cmpi._core.protocol import process_root
from cmpi._runtime.process.condition import ChannelCondition
from cmpi._runtime.process.exits import Exits
from cmpi._runtime.process.node_lock import NodeLock
from cmpi._runtime.process.wait_registry import WaitRegistry
from cmpi.identifiers import ExitStatus, Pid


class Root:
    """Replaces the connection to the root."""

    def __init__(self):
        self.said, self.interrupts = [], 0

    def looked_at(self, pid):
        pass

    def tell(self, frame):
        if self.interrupts:
            self.interrupts -= 1
            raise KeyboardInterrupt
        self.said.append(frame)


@pytest.fixture
def root():
    return Root()


@pytest.fixture
def exits(root):
    return Exits(ChannelCondition(NodeLock()), root, WaitRegistry())


def test_a_watch_interrupted_by_ctrl_c_is_sent_again(exits, root):
    root.interrupts = 1
    with pytest.raises(KeyboardInterrupt):
        exits.watch(Pid(1))
    exits.watch(Pid(1))
    exits.watch(Pid(1))
    assert root.said == [process_root.Watch(1)]


def test_all_processes_count_as_ended_once_the_connection_to_the_root_is_lost(exits):
    exits.watch(Pid(1))
    lost = ExitStatus(1, 0, "the job has ended")
    exits.lose_all(lost)
    assert exits.wait_exit(Pid(1), 0.0) == exits.wait_exit(Pid(2), 0.0) == lost
