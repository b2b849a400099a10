"""Frames between a running job's root and a cmpirun that deploys a program, or lists deployed programs.

That cmpirun first announces itself and gets what it needs to know. It then sends its order and the
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
    """The only frame of a cmpirun that lists the deployed programs that still run."""


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
    """The answer to AskDeployments: for each program its pid, when it started (seconds since 1970), and
    what it runs."""

    pids: list[U64]
    since_s: list[U64]
    labels: list[str]


TO_ROOT = registry({1: LaunchJob, 2: Interrupt, 4: ShowStacks, 137: DeploymentUp, 139: AskDeployments})
TO_DEPLOYER = registry({3: Final, 138: MayDeploy, 140: DeploymentsAre})
