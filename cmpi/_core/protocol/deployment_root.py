"""Frames between a running job's root and a cmpirun that deploys a program, or lists, follows or ends
deployed programs.

A deploying cmpirun first announces itself and gets what it needs to know. It then sends its order and the
terminal's three descriptors, as the job's own cmpirun does: see `launcher_root`.
"""

from __future__ import annotations

from cmpi._core.protocol.launcher_root import Final, Interrupt, LaunchJob, ShowStacks
from cmpi._core.protocol.wire import U64, frame, registry

# -- cmpirun -> root --------------------------------------------------------------------


@frame
class DeploymentUp:
    """The first frame of a cmpirun that deploys a program: how its Python was started, which most likely
    holds for the program too."""

    python: str
    flags: list[str]
    settings: list[str]


@frame
class AskDeployments:
    """The only frame of a cmpirun that lists the deployed programs that run, or whose output waits."""


@frame
class Visit:
    """The first frame of a cmpirun that follows or ends the deployed program of this pid. It may then also
    send Interrupt and ShowStacks."""

    pid: U64


@frame
class Follow:
    """So much of the program's kept output has been read: is there more, or has it ended?"""

    read: U64


@frame
class AwaitEnd:
    """Send Final once the program has ended."""


# -- root -> cmpirun --------------------------------------------------------------------


@frame
class MayDeploy:
    """The answer to DeploymentUp: send LaunchJob.

    `inherited` lists the variables in the environment of the cmpirun that started the job; a deployed
    program must not see them.
    """

    inherited: list[str]


@frame
class DeploymentsAre:
    """The answer to AskDeployments: for each program its pid, when it started (seconds since 1970), what it
    runs, and its state in words ("": it runs on a terminal)."""

    pids: list[U64]
    since_s: list[U64]
    labels: list[str]
    states: list[str]


@frame
class Deployed:
    """The answer to a LaunchJob that is detached: the program's pid."""

    pid: U64


@frame
class Visited:
    """The answer to Visit: the folder of the program's kept output; "": none, it has a terminal."""

    log: str


@frame
class NoDeployment:
    """The answer to Visit: there is no such program."""


@frame
class Grown:
    """An answer to Follow: how much output has been kept in all."""

    nbytes: U64


TO_ROOT = registry(
    {
        1: LaunchJob,
        2: Interrupt,
        4: ShowStacks,
        137: DeploymentUp,
        139: AskDeployments,
        142: Visit,
        143: Follow,
        144: AwaitEnd,
    }
)
TO_CMPIRUN = registry(
    {
        3: Final,
        138: MayDeploy,
        140: DeploymentsAre,
        145: Deployed,
        146: Visited,
        147: NoDeployment,
        148: Grown,
    }
)
