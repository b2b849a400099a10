"""Reads the #SBATCH lines of a program's own script. Pure.

As sbatch does, it reads the lines before the first one that is neither empty nor a comment.
Source: sbatch(1).
"""

from __future__ import annotations

import shlex

from cmpi._base.frozen import frozen
from cmpi.errors import UsageError

# cmpirun's own options for some of sbatch's: the command line may override these.
OURS = {
    "nodes": "--nodes",
    "ntasks": "-n",
    "time": "--time",
    "partition": "--partition",
    "account": "--account",
    "mem-per-cpu": "--mem-per-cpu",
    "array": "--array",
    "requeue": "--requeue",
    "job-name": "--job-name",
    "gpus-per-node": "--gpus-per-node",
    "constraint": "--constraint",
}
_LETTERS = {
    "N": "nodes", "n": "ntasks", "t": "time", "p": "partition", "A": "account", "a": "array",
    "J": "job-name", "C": "constraint", "d": "dependency", "c": "cpus-per-task", "D": "chdir",
    "o": "output", "e": "error", "G": "gpus", "q": "qos", "w": "nodelist", "x": "exclude",
    "W": "wait", "i": "input",
}  # fmt: skip
# What cmpirun decides itself, and what to do instead.
_REFUSED = {
    "output": "cmpirun keeps the output in .cmpi and shows it; for files of your own, use --output-dir",
    "error": "cmpirun keeps the output in .cmpi and shows it; for files of your own, use --output-dir",
    "input": "cmpirun gives a batch job no input",
    "chdir": "a job runs in the folder where it is submitted; change to that folder first",
    "open-mode": "cmpirun keeps the output in .cmpi",
    "wait": "cmpirun waits anyway, unless --detach is given",
    "parsable": "--detach prints the job's number",
    "test-only": "use --dry-run",
    "wrap": "the program is this script",
}
_ONE_OF = [{"mem", "mem-per-cpu", "mem-per-gpu"}, {"requeue", "no-requeue"}]


@frozen
class OwnOption:
    """One option in a script's #SBATCH lines; `name` is the long one if it is known."""

    place: str  # "job.py:3"
    name: str
    value: str = ""

    @property
    def text(self) -> str:
        """As sbatch reads it."""
        dashes = "--" if len(self.name) > 1 else "-"
        if not self.value:
            return dashes + self.name
        value = f'"{self.value}"' if any(c in self.value for c in " \t#") else self.value
        return f"{dashes}{self.name}={value}" if len(self.name) > 1 else f"-{self.name} {value}"


def parse(text: str, path: str) -> list[OwnOption]:
    """The options in the #SBATCH lines at the top of a script.

    Raises:
        UsageError: A line cannot be read, or two contradict each other, or cmpirun decides this itself.

    >>> [it.text for it in parse("#!/usr/bin/env python\\n#SBATCH -N 2 --qos=long  # two\\n", "job.py")]
    ['--nodes=2', '--qos=long']
    """
    options: list[OwnOption] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            break
        if line.startswith("#SBATCH"):
            place = f"{path}:{number}"
            for option in _options(line[len("#SBATCH") :], place):
                _check(option, options)
                options.append(option)
    return options


def _options(text: str, place: str) -> list[OwnOption]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError as error:
        raise UsageError(f"{place}: cannot split {text.strip()!r} into options: {error}") from None
    options: list[OwnOption] = []
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, _, value = word[2:].partition("=")
            options.append(OwnOption(place, name, value))
        elif word.startswith("-") and len(word) > 1 and not word.startswith("--"):
            options.append(OwnOption(place, _LETTERS.get(word[1], word[1]), word[2:]))
        elif options and not options[-1].value:
            options[-1] = OwnOption(place, options[-1].name, word)
        else:
            raise UsageError(f"{place}: expected options of sbatch, such as --time=10:00; found {word!r}")
    return options


def _check(option: OwnOption, before: list[OwnOption]) -> None:
    if option.name in _REFUSED:
        raise UsageError(f"{option.place}: remove --{option.name}: {_REFUSED[option.name]}")
    if option.name in ("nodes", "ntasks") and not (option.value.isdigit() and int(option.value)):
        raise UsageError(
            f"{option.place}: --{option.name}: cmpirun needs one number, 1 or more; found {option.value!r}"
        )
    for other in before:
        same = other.name == option.name and other.value != option.value
        if same or any(
            {other.name, option.name} <= group for group in _ONE_OF if other.name != option.name
        ):
            raise UsageError(
                f"{option.place}: {option.text} contradicts {other.text} in {other.place}; remove one"
            )


def as_ours(options: list[OwnOption]) -> list[str]:
    """As options of cmpirun, to be put before those of the command line, which then win.

    Raises:
        UsageError: The number of ranks is given for each node alone.
    """
    for option in options:
        if option.name == "ntasks-per-node" and all(it.name != "ntasks" for it in options):
            raise UsageError(
                f"{option.place}: with --ntasks-per-node, say the number of ranks with --ntasks"
            )
    words: list[str] = []
    for option in options:
        if option.name in OURS:
            words += [OURS[option.name], *([option.value] if option.value else [])]
    return words


def for_sbatch(options: list[OwnOption], given: set[str]) -> list[OwnOption]:
    """Return the options to pass on to sbatch, without those that conflict with the command line."""
    replaced = {name for group in _ONE_OF if group & given for name in group}
    return [it for it in options if it.name not in {*OURS, "no-requeue"} | replaced]


def blame(options: list[OwnOption], complaint: str) -> str:
    """Describe the option that sbatch's complaint names; "" if it names none of these.

    >>> blame([OwnOption("job.py:3", "qoz", "long")], "sbatch: unrecognized option '--qoz=long'")
    ' (job.py:3: --qoz=long)'
    """
    for option in options:
        words = option.name.replace("-", " ")
        if f"--{option.name}" in complaint or words in complaint.lower().replace("-", " ").split():
            return f" ({option.place}: {option.text})"
    return ""
