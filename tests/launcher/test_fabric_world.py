"""cmpirun's side of the fabric agents: worlds that fall, hosts that are lost."""

from cmpi._core.fabric.revival import MOST_FAILURES
from cmpi._core.protocol.launcher_root import FabricFailed
from cmpi.launcher.hosts import fabric_world
from cmpi.launcher.hosts.fabric_world import FabricWorld


class World:
    """Stands in for a `WorldProcess`."""

    descriptors = (3, 4)

    def __init__(self):
        self.fallen = self.ended = False

    def has_ended(self, ready):
        return self.fallen

    def end(self):
        assert not self.ended, "ended twice"
        self.ended = True
        return ""


class Worlds:
    """The worlds that were started, the clock, and what the root was told."""

    def __init__(self, monkeypatch, hosts):
        self.now_s, self.started, self.told = 100.0, [], []
        monkeypatch.setattr(fabric_world.clock, "now_s", lambda: self.now_s)
        self.fabric = FabricWorld(hosts, self.start)
        self.fabric.attend(self.told.append)

    def start(self, hosts):
        self.started.append((hosts, World()))
        return self.started[-1][1]

    def pass_time(self, seconds):
        self.now_s += seconds
        self.fabric.serve(set())


def test_a_world_that_falls_is_replaced_after_a_pause_until_it_falls_too_often(monkeypatch):
    worlds = Worlds(monkeypatch, ["a", "b"])
    for i in range(1, MOST_FAILURES + 1):
        assert [hosts for hosts, _ in worlds.started] == [["a", "b"]] * i
        worlds.started[-1][1].fallen = True
        worlds.pass_time(0)
        assert worlds.started[-1][1].ended and worlds.fabric.descriptors == ()
        worlds.pass_time(30)
    assert len(worlds.started) == MOST_FAILURES
    assert worlds.told == [
        FabricFailed("the fabric agents end again and again (--verbose shows what MPI says)")
    ]


def test_a_lost_host_ends_the_world_and_the_next_one_does_without_it(monkeypatch):
    worlds = Worlds(monkeypatch, ["a", "b", "c"])
    worlds.fabric.host_lost("elsewhere")
    worlds.fabric.host_lost("b")
    assert worlds.started[0][1].ended
    worlds.pass_time(30)
    assert worlds.started[1][0] == ["a", "c"]
    worlds.fabric.host_back("b")
    assert not worlds.started[1][1].ended, "a host that is back is no reason to disturb the others"
    worlds.fabric.host_lost("c")
    worlds.pass_time(30)
    assert worlds.started[2][0] == ["a", "b"]
    worlds.fabric.host_lost("b")
    worlds.pass_time(30)
    assert len(worlds.started) == 3
    assert worlds.told == [FabricFailed("fewer than two hosts with fabric agents are left")]


def test_without_hosts_nothing_is_started(monkeypatch):
    worlds = Worlds(monkeypatch, [])
    worlds.fabric.host_lost("a")
    worlds.pass_time(30)
    assert not worlds.started and not worlds.told and worlds.fabric.deadline_s is None


def test_the_end_of_the_job_is_the_end_of_the_world(monkeypatch):
    worlds = Worlds(monkeypatch, ["a", "b"])
    worlds.fabric.finish()
    worlds.pass_time(30)
    assert worlds.started[0][1].ended and len(worlds.started) == 1
