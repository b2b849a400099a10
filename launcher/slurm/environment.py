"""Lines of a batch script that make up for an environment that Slurm does not pass on. Pure.

Sources: sbatch(1), "--export"; Environment Modules and Lmod, "Initialization".
"""

from __future__ import annotations

import shlex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Where Environment Modules and Lmod define `module` for login shells; a batch script's shell is none.
_PROFILES = "/etc/profile.d/{modules,lmod,z00_lmod,00-modulepath,z01_StdEnv}.sh"


def exported(options: Sequence[str], variables: Mapping[str, str]) -> bool:
    """Whether the job gets the environment of the shell that submits it.

    Args:
        options: sbatch's; a later one wins.
        variables: That environment.

    >>> exported(["--mem=1G"], {}), exported(["--export=NONE"], {}), exported([], {"SBATCH_EXPORT": "NONE"})
    (True, False, False)
    >>> exported(["--export=ALL,HOME=/scratch"], {"SBATCH_EXPORT": "NONE"})
    True
    """
    value = variables.get("SBATCH_EXPORT", "ALL")
    for option, after in zip(options, [*options[1:], ""]):
        if option.startswith("--export="):
            value = option[len("--export=") :]
        elif option == "--export":
            value = after
    return value.upper().split(",")[0] == "ALL"


def path(folder: str, variables: Mapping[str, str]) -> list[str]:
    """The line that puts the folder of our Python first on PATH, if the submitting shell has it there."""
    if folder not in variables.get("PATH", "").split(":"):
        return []
    return [f"PATH={shlex.quote(folder)}:$PATH  # the environment is not exported: see --export"]


def setup(lines: Sequence[str]) -> list[str]:
    """The user's lines. A command that is not found is named; the job goes on, as in any shell script."""
    script = []
    if any(line.split()[:1] in (["module"], ["ml"]) for line in lines):
        script += [
            f"type module >/dev/null 2>&1 || for file in {_PROFILES}; do [ -r $file ] && . $file; done"
        ]
    for line in lines:
        told = shlex.quote(f"cmpirun: a command of --setup was not found: {line}")
        script += [line, f"[ $? != 127 ] || echo {told} >&2"]
    return script
