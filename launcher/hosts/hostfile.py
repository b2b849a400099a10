"""Parses hostfiles and --host. Pure.

Accepts the forms of Open MPI (`host slots=4 max_slots=8`) and MPICH (`host:4`), one host per line, and some
additional settings. Sources: Open MPI's prterun(1), "The Hostfile"; MPICH's "Using the Hydra Process
Manager", "Host file format".
"""

from __future__ import annotations

import re

from cmpi._base.frozen import frozen
from cmpi._base.units import parse_cpus, parse_memory
from cmpi.errors import UsageError

FORMS = """\
    node1                            as many ranks as this job may use cores there
    node1 slots=4 max_slots=8        4 ranks, and 8 if there are more ranks than slots
    node1:4                          the same as slots=4
    node[1-4,7]:2                    node1, node2, node3, node4 and node7, with 2 each
    [fe80::1]:4                      an address of IPv6; a port or a way through other hosts: ssh's config
    me@node1 slots=4 cpus=3.5 mem=16GiB workdir=/data/me python=/opt/python/bin/python3"""
_NAME = re.compile(r"(?:[\w.-]+@)?(?:[A-Za-z0-9](?:[\w.-]*\w)?|\[[0-9A-Fa-f:.]+(?:%\w+)?\])")
_RANGES = re.compile(r"\[((?:\d+(?:-\d+)?)(?:,\d+(?:-\d+)?)*)\]")
_MOST = 100_000  # the most hosts in one range
_KEYS = ("slots", "max_slots", "max-slots", "cpus", "mem", "workdir", "python")


@frozen
class HostSpec:
    """One host as the user named it; 0 and "" stand for the host's own values, or for no limit."""

    name: str
    target: str  # the argument for ssh: the name, perhaps with a user before it
    slots: int = 0
    max_slots: int = 0
    cpu_units: int = 0
    memory_bytes: int = 0
    workdir: str = ""
    python: str = ""
    allocation: str = ""  # the Slurm job that has it, if that is not our own


def with_defaults(host: HostSpec, cpu_units: int, memory_bytes: int) -> HostSpec:
    """The host, with the defaults for all hosts where it has no value of its own."""
    fields = {name: getattr(host, name) for name in HostSpec.__match_args__}
    fields["cpu_units"] = host.cpu_units or cpu_units
    fields["memory_bytes"] = host.memory_bytes or memory_bytes
    return HostSpec(**fields)


def parse_file(text: str, path: str) -> list[HostSpec]:
    """The hosts of a hostfile, in order; the slots of a host that is named twice are added up.

    Raises:
        UsageError: A line cannot be read; the message has file, line and the accepted forms.

    >>> [(h.name, h.slots) for h in parse_file("a slots=2  # the first\\nb:4", "lab.hosts")]
    [('a', 2), ('b', 4)]
    """
    hosts = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            try:
                hosts += [_host(word, words[1:]) for word in expand(words[0])]
            except UsageError as error:
                raise UsageError(
                    f"{path}:{number}: {error}; found: {line.strip()!r}. Accepted:\n{FORMS}"
                ) from None
    if not hosts:
        raise UsageError(f"{path} names no host. Accepted, one per line:\n{FORMS}")
    return _merged(hosts)


def parse_list(text: str) -> list[HostSpec]:
    """The hosts of `--host a:4,b:4`.

    Raises:
        UsageError: It cannot be read.
    """
    words = [word.strip() for word in re.split(r",(?![^\[]*\])", text)]
    if not all(words):
        raise UsageError(f"expected hosts separated by commas, such as a:4,b:4; found {text!r}")
    try:
        return _merged([_host(name, []) for word in words for name in expand(word)])
    except UsageError as error:
        raise UsageError(f"--host {text}: {error}. Expected hosts such as a:4,b:4") from None


def expand(word: str) -> list[str]:
    """Expand a word with ranges in Slurm's form into hosts; leading zeros are kept.

    Raises:
        UsageError: A range is descending or too long.

    >>> expand("me@n[08-10,12]-ib:2")
    ['me@n08-ib:2', 'me@n09-ib:2', 'me@n10-ib:2', 'me@n12-ib:2']
    """
    found = _RANGES.search(word)
    if found is None or found.start() == 0 or word[found.start() - 1] == "@":
        return [word]  # an IPv6 address, such as [::1]
    names = []
    for part in found[1].split(","):
        first, _, last = part.partition("-")
        end = int(last or first)
        if not int(first) <= end < int(first) + _MOST:
            raise UsageError(
                f"the range {part} must ascend and have at most {_MOST} hosts, as in node[1-4]"
            )
        names += [f"{number:0{len(first)}d}" for number in range(int(first), end + 1)]
    return [
        name for number in names for name in expand(word[: found.start()] + number + word[found.end() :])
    ]


def _host(first: str, settings: list[str]) -> HostSpec:
    match = _NAME.match(first)
    rest = first[match.end() :] if match else ""
    if "[" not in first and first.count(":") > 1:
        raise UsageError("an IPv6 address needs brackets, as in [fe80::1] or [fe80::1]:4")
    if match is None or (rest and rest[0] != ":"):
        raise UsageError("a line begins with a host name")
    values: dict[str, str] = {"slots": rest[1:]} if rest else {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not value or key not in _KEYS:
            raise UsageError(f"unknown setting {setting!r}; the settings are {', '.join(_KEYS)}")
        key = key.replace("-", "_")
        if key in values:
            raise UsageError(f"{key} is given twice")
        values[key] = value
    host = HostSpec(
        match[0].rpartition("@")[2].strip("[]"),
        match[0].replace("[", "").replace("]", ""),
        _count(values, "slots"),
        _count(values, "max_slots"),
        parse_cpus(values["cpus"]) if "cpus" in values else 0,
        parse_memory(values["mem"]) if "mem" in values else 0,
        values.get("workdir", ""),
        values.get("python", ""),
    )
    if host.max_slots and host.slots > host.max_slots:
        raise UsageError(f"slots={host.slots} is more than max_slots={host.max_slots}")
    return host


def _count(values: dict[str, str], key: str) -> int:
    text = values.get(key)
    if text is None:
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{key} must be a number, 1 or more")
    return int(text)


def _merged(hosts: list[HostSpec]) -> list[HostSpec]:
    found: dict[str, HostSpec] = {}
    for host in hosts:
        first = found.get(host.name)
        if first is None:
            found[host.name] = host
            continue
        found[host.name] = HostSpec(
            first.name,
            first.target,
            (first.slots or 1) + (host.slots or 1),
            first.max_slots + host.max_slots if first.max_slots and host.max_slots else 0,
            first.cpu_units or host.cpu_units,
            first.memory_bytes or host.memory_bytes,
            first.workdir or host.workdir,
            first.python or host.python,
        )
    return list(found.values())
