"""Frames between a running job's root and a cmpirun that deploys a program, or asks what was deployed.

The cmpirun says that it is one, is told what it needs, and sends its order and the terminal's three
descriptors, as the cmpirun of the job itself does: see `launcher_root`.
"""

from __future__ import annotations

from cmpi._core.protocol.launcher_root import Final, Interrupt, LaunchJob, ShowStacks
from cmpi._core.protocol.wire import U64, frame, registry

# -- cmpirun -> root --------------------------------------------------------------------


@frame
class DeploymentUp:
    """The first frame of one that deploys: how its Python was started, as most likely its program's."""

    python: str
    flags: list[str]
    settings: list[str]


@frame
class AskDeployments:
    """The first and only frame of a cmpirun that wants to know what was deployed and still runs."""


# -- root -> cmpirun --------------------------------------------------------------------


@frame
class MayDeploy:
    """The answer to DeploymentUp: send LaunchJob.

    `inherited` are the names in the environment of the cmpirun that has started the job: a program that
    comes from elsewhere is not to see these variables.
    """

    inherited: list[str]


@frame
class DeploymentsAre:
    """The answer to AskDeployments: of each the pid, since when it runs (seconds since 1970), and what."""

    pids: list[U64]
    since_s: list[U64]
    labels: list[str]


TO_ROOT = registry({1: LaunchJob, 2: Interrupt, 4: ShowStacks, 137: DeploymentUp, 139: AskDeployments})
TO_DEPLOYER = registry({3: Final, 138: MayDeploy, 140: DeploymentsAre})
