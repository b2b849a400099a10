"""Decides which variables of its world a rank gets in its environment. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def fitting(settings: list[str], variables: Mapping[str, str]) -> dict[str, str]:
    """The settings to add to an environment: those that the user has not set. In a Slurm job, the rank's
    numbers also replace those of the batch script, which are 0 in every process.

    >>> fitting(["RANK=1", "SLURM_PROCID=1"], {"RANK": "5"})
    {}
    >>> fitting(["RANK=1", "SLURM_PROCID=1"], {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0"})
    {'RANK': '1', 'SLURM_PROCID': '1'}
    """
    pairs = (setting.partition("=")[::2] for setting in settings)
    in_slurm = "SLURM_JOB_ID" in variables
    return {
        name: value
        for name, value in pairs
        if (in_slurm if name.startswith("SLURM_") else name not in variables)
    }
