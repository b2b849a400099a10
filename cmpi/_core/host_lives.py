"""The states of a job's other hosts: starting, up, lost, away, returning, leaving. Pure.

    starting ──up──▶ up ──closed──▶ lost ──forgotten──▶ away ──(5 s, or added)──▶ returning ──taken in──▶ up
                                                          ▲                           │
                                                          └──────────closed───────────┘

A host is up as long as its agent sends heartbeats. A lost host is tried again only after the root has
acknowledged the loss; from then on the processes there count as dead. Before a returning or new host is
used, it is checked, told of the job and sent the program. If any of that fails, its agent is ended, and
the attempt is over. A host that is removed is leaving: the root is told as of a loss, and after its answer
the agent there is ended.
"""

from __future__ import annotations

from cmpi._base.frozen import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

STARTING, UP, LOST, AWAY = "starting", "up", "lost", "away"
RETURNING, LEAVING = "returning", "leaving"
REMOVED = "it was taken out of the job"
RETRY_S = 5.0  # between looks for a host that is away


@frozen
class StartAgent:
    """Action: start an agent on the host. It reports `up`, or `closed`."""

    name: str


@frozen
class KillAgent:
    """Action: kill the agent on the host; `closed` follows."""

    name: str


@frozen
class SendHeartbeat:
    """Action: send a heartbeat to the agent on the host."""

    name: str


@frozen
class CloseSilent:
    """Action: the agent there has been silent for too long; treat its connection as closed."""

    name: str


@frozen
class DismissAgent:
    """Action: tell the agent on the host that the job is over for it; `closed` follows."""

    name: str


@frozen
class CheckHost:
    """Action: check whether the host can take part, and report the result with `checked`."""

    name: str


@frozen
class DescribeJob:
    """Action: tell the agent on the host about the job, and report its answer with `begun`."""

    name: str


@frozen
class SendProgram:
    """Action: send the host the program if it lacks it, and report the result with `provided`."""

    name: str


@frozen
class ReportUp:
    """Action: tell the root that the host can be used."""

    name: str


@frozen
class ReportLost:
    """Action: tell the root that this host is lost, and report its answer with `forgotten`."""

    name: str
    reason: str


@frozen
class AnswerAdd:
    """Action: answer the request to add this host. "": it was added. None: its agent ended by itself, and
    that is the fault."""

    name: str
    fault: str | None


if TYPE_CHECKING:
    Action: TypeAlias = (
        "StartAgent | KillAgent | SendHeartbeat | CloseSilent | DismissAgent | CheckHost | DescribeJob | "
        "SendProgram | ReportUp | ReportLost | AnswerAdd"
    )


class _Life:
    def __init__(self, state: str, now_s: float) -> None:
        self.state = state
        self.heard_s = self.tried_s = now_s
        self.reason: str | None = None  # why it is lost, until the root has been told
        self.wanted = False  # somebody waits for it to be added
        self.new = False  # it has never been a host of this job
        self.answered = self.gone = False  # while leaving: the root has answered, the agent has ended
        self.fault: str | None = None  # why it cannot be used


class HostLives:
    """The state machine of all hosts. Methods are events and return actions; not thread-safe, never blocks.

    Args:
        beat_s: Seconds between two heartbeats.
        lost_s: Seconds without a heartbeat after which a host is lost.
        now_s: The time.
    """

    def __init__(self, beat_s: float, lost_s: float, now_s: float) -> None:
        self._beat_s, self._lost_s, self._next_beat_s = beat_s, lost_s, now_s + beat_s
        self._lives: dict[str, _Life] = {}
        self._attended = False

    def state(self, name: str) -> str:
        """The state of a host; "" if it does not belong to this job."""
        return self._lives[name].state if name in self._lives else ""

    # -- the job's start -------------------------------------------------------------------

    def start(self, name: str, now_s: float) -> list[Action]:
        """Start an agent on a host of the job."""
        self._lives[name] = _Life(STARTING, now_s)
        return [StartAgent(name)]

    def attend(self) -> list[Action]:
        """The root can be told about hosts from now on, and hosts may return or be added."""
        self._attended = True
        return [action for name in self._lives for action in self._report_lost(name)]

    # -- of agents -------------------------------------------------------------------------

    def heard(self, name: str, now_s: float) -> None:
        """The agent on the host has sent something."""
        self._lives[name].heard_s = now_s

    def up(self, name: str) -> list[Action]:
        """The agent on the host has reported what the host has."""
        life = self._lives[name]
        if life.state == RETURNING:
            return [CheckHost(name)]
        life.state = UP
        return []

    def closed(self, name: str, reason: str) -> list[Action]:
        """The connection with the agent has ended; `reason` says why, unless the fault is already known."""
        life = self._lives[name]
        if life.state == LEAVING:
            life.gone = True
            return self._leave(name)
        if life.state == UP:
            life.state, life.reason = LOST, reason
            return self._report_lost(name)
        if life.state != RETURNING:
            return []  # it never came up; those who wait for it notice
        if life.new:
            del self._lives[name]
        life.state = AWAY
        wanted, life.wanted = life.wanted, False
        return [AnswerAdd(name, life.fault)] if wanted else []

    def not_started(self, name: str, fault: str) -> list[Action]:
        """No agent could be started on a host that was to be taken in."""
        self._lives[name].fault = fault
        return self.closed(name, "")

    # -- of returning hosts ----------------------------------------------------------------

    def checked(self, name: str, fault: str) -> list[Action]:
        """The host was checked; `fault` says why it cannot take part, "" if it can."""
        return self._go_on(name, fault, DescribeJob(name))

    def begun(self, name: str, fault: str) -> list[Action]:
        """The agent was told about the job; `fault` says why it cannot begin, "" if it can."""
        return self._go_on(name, fault, SendProgram(name))

    def provided(self, name: str, fault: str) -> list[Action]:
        """The host was sent the program; `fault` says why it lacks it, "" if it has it."""
        life = self._lives[name]
        actions = self._go_on(name, fault, ReportUp(name))
        if life.fault is None:
            life.state, life.new = UP, False
            wanted, life.wanted = life.wanted, False
            actions += [AnswerAdd(name, "")] if wanted else []
        return actions

    def _go_on(self, name: str, fault: str, then: Action) -> list[Action]:
        life = self._lives[name]
        assert life.state == RETURNING, f"{name} is {life.state}"
        if fault:
            life.fault = fault
            return [KillAgent(name)]
        return [then]

    # -- of the root and the user ------------------------------------------------------------

    def forgotten(self, name: str, now_s: float) -> list[Action]:
        """The root has acknowledged the loss of this host."""
        life = self._lives[name]
        if life.state == LEAVING:
            life.answered = True
            return self._leave(name)
        if life.state != LOST:
            return []
        life.state, life.tried_s = AWAY, now_s
        return self._try(name, now_s) if life.wanted else []

    def add(self, name: str, now_s: float) -> list[Action]:
        """The user wants this host in the job."""
        life = self._lives.get(name)
        if life is None:
            life = self._lives[name] = _Life(AWAY, now_s)
            life.new = True
        elif life.wanted or life.state not in (LOST, AWAY):
            return [AnswerAdd(name, f"{name}: is already a host of this job")]
        life.wanted = True
        return self._try(name, now_s) if life.state == AWAY else []

    def remove(self, name: str) -> list[Action]:
        """Begin to take a host that was added out of the job."""
        life = self._lives.get(name)
        if life is None or life.state in (STARTING, LEAVING) or (life.wanted and life.state == LOST):
            return []  # it is not there, has not been added, or somebody wants it again
        life.new = True
        if life.state == RETURNING:
            return [KillAgent(name)]
        actions: list[Action] = [ReportLost(name, REMOVED)] if life.state == UP else []
        life.gone, life.answered = life.state != UP, life.state == AWAY
        life.state = LEAVING
        return actions + self._leave(name)

    def _leave(self, name: str) -> list[Action]:
        life = self._lives[name]
        if not life.answered:
            return []
        if life.gone:
            del self._lives[name]
            return []
        return [DismissAgent(name)]

    # -- time --------------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float:
        """When to call `tick`."""
        return self._next_beat_s

    def tick(self, now_s: float) -> list[Action]:
        """Do what is due."""
        if now_s < self._next_beat_s:
            return []
        self._next_beat_s = now_s + self._beat_s
        actions: list[Action] = []
        for name, life in self._lives.items():
            if life.state == UP:
                silent = now_s >= life.heard_s + self._lost_s
                actions.append(CloseSilent(name) if silent else SendHeartbeat(name))
            elif life.state == LEAVING and not life.gone and now_s >= life.heard_s + self._lost_s:
                actions.append(CloseSilent(name))
            elif life.state == AWAY and self._attended and now_s >= life.tried_s + RETRY_S:
                actions += self._try(name, now_s)
        return actions

    def _try(self, name: str, now_s: float) -> list[Action]:
        life = self._lives[name]
        life.state, life.fault, life.heard_s, life.tried_s = RETURNING, None, now_s, now_s
        return [StartAgent(name)]

    def _report_lost(self, name: str) -> list[Action]:
        life = self._lives[name]
        if not self._attended or life.reason is None:
            return []
        reason, life.reason = life.reason, None
        return [ReportLost(name, reason)]
