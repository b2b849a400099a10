"""What is wrong with a host, in one line with the command that mends it. Pure."""

from __future__ import annotations

import re
import shlex

from cmpi.launcher.hosts.hostfile import HostSpec
from cmpi.launcher.mpi.find_mpi import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.protocol.launcher_agent import HostFacts

# What ssh says, and what that means; sources: OpenSSH's ssh(1), sshconnect.c, and what was seen.
_SSH_SAYS = (
    # ssh says this one together with "Host key verification failed".
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "has another host key than before", "ssh-keygen -R {name}"),
    ("Permission denied", "refuses your key", "ssh-copy-id {target}"),
    ("Host key verification failed", "is not known here", "ssh {target}   (and compare its key)"),
    ("Could not resolve", "is not known by that name", "getent hosts {name}   (and mend the name)"),
    ("timed out", "cannot be reached", "ping {name}"),
    ("No route to host", "cannot be reached", "ping {name}"),
    ("Network is unreachable", "cannot be reached", "ping {name}"),
    ("Connection refused", "lets nobody in by ssh", "systemctl start ssh   (on {name})"),
)


def no_agent(host: HostSpec, python: str, mpi_kind: str, version: str, code: int | None, said: str) -> str:
    """Why there is no agent; `code` is None if ssh still runs, `said` what came on its stderr."""
    on = f"ssh {host.target}"
    if code is None:
        return (
            f"{host.name}: has not logged in by ssh in time. Try: {on} true   (and give it --ssh-timeout)"
        )
    for words, meaning, mend in _SSH_SAYS:
        if code == 255 and words in said:
            own = re.search(r"^ *(ssh-keygen -f .*)", said, re.M)
            mend = own[1].strip() if own and "ssh-keygen" in mend else mend
            mend = mend.format(target=host.target, name=host.name)
            return f"{host.name}: {meaning}{_where(said)}. Try: {mend}"
    if code in (126, 127):
        look = f"Try: {on} ls -l {shlex.quote(python)}   (and name another with python= in the hostfile)"
        return f"{host.name}: has no Python at {python}. {look}"
    if "No module named 'cmpi" in said:
        install = f"{shlex.quote(python)} -m pip install 'cmpi[{mpi_kind}]=={version}'"
        return f"{host.name}: has no cmpi for {python}. Try: {on} {shlex.quote(install)}"
    last = said.strip().splitlines()[-1:] or ["nothing"]
    said_so = f"it said: {last[0]}{_where(said)}"
    return f"{host.name}: no agent came up (exit code {code}); {said_so}. Try: {on} true"


def _where(said: str) -> str:
    """The file and line of ssh's that it complains of, in words; "" if of none.

    >>> _where("Offending ED25519 key in /root/.ssh/known_hosts:3")
    ' (see line 3 of /root/.ssh/known_hosts)'
    """
    found = re.search(r"(/[^\s:]+)(?::| line |: line )(\d+)", said)
    return f" (see line {found[2]} of {found[1]})" if found else ""


def same_machine(name: str, machine: str, others: dict[str, str]) -> str:
    """That a host is one of the `others` under another name, by what tells machines apart, or "".

    >>> same_machine("10.0.0.2", "boot 7", {"h1": "boot 5", "h2": "boot 7"})
    '10.0.0.2: is the same host as h2. Name it once, with the slots of both'
    """
    twin = next(
        (other for other, its in others.items() if machine and its == machine and other != name), ""
    )
    return f"{name}: is the same host as {twin}. Name it once, with the slots of both" if twin else ""


def other_code(host: HostSpec, there: str, here: str) -> str:
    """That an agent came up, of another cmpi than this one.

    >>> other_code(HostSpec("h2", "me@h2"), "0.1.0, code 01234567", "0.1.0, code 89abcdef")
    'h2: cmpi 0.1.0, code 01234567; and 0.1.0, code 89abcdef here. Install the same on both'
    """
    found = there if "code" in there else "of an earlier release"
    return f"{host.name}: cmpi {found}; and {here} here. Install the same on both"


def differences(host: HostSpec, there: HostFacts, here: HostFacts) -> str:
    """What keeps this host from taking part in a job that is started here; "" if nothing does."""
    on = f"Try: ssh {host.target}"
    pip = f"{shlex.quote(there.executable)} -m pip install"
    if there.python.rpartition(".")[0] != here.python.rpartition(".")[0]:
        return (
            f"{host.name}: Python {there.python} ({there.executable}) cannot read what {here.python} "
            "here sends it. Name another with python= in the hostfile"
        )
    if there.cmpi != here.cmpi:
        return f"{host.name}: cmpi {there.cmpi}, and {here.cmpi} here. {on} {pip} cmpi=={here.cmpi}"
    if len(there.mpi) < 3:
        return f"{host.name}: {' '.join(there.mpi[0].split())}"
    if there.mpi[:2] != here.mpi[:2]:
        has, wanted = (f"{NAMES.get(f.mpi[0], f.mpi[0])} {f.mpi[1]}" for f in (there, here))
        return f"{host.name}: {has}, and {wanted} here. {on} {pip} {here.mpi[0]}=={here.mpi[1]}"
    if there.mpi4py != here.mpi4py:
        found = there.mpi4py or "no mpi4py"
        return f"{host.name}: mpi4py {found}, and {here.mpi4py} here. {on} {pip} mpi4py=={here.mpi4py}"
    return ""
