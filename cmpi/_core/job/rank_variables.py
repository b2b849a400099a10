"""Which of its world's variables a rank's environment takes up. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def fitting(settings: list[str], variables: Mapping[str, str]) -> dict[str, str]:
    """What of these settings an environment is to have: what the user has not set; and in a Slurm job the
    rank's numbers in place of those of the batch script, which are 0 everywhere.

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
