"""Says what is wrong with a host, in one line with the command that fixes it. Pure."""

from __future__ import annotations

import re
import shlex

from cmpi.launcher.hosts.hostfile import HostSpec
from cmpi.launcher.mpi.find_mpi import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.protocol.launcher_agent import HostFacts

# Messages of ssh, and what they mean. Sources: OpenSSH's ssh(1), sshconnect.c, and observation.
_SSH_SAYS = (
    # This must come before "Host key verification failed", which ssh prints with it.
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key has changed", "ssh-keygen -R {name}"),
    ("Permission denied", "refuses your key", "ssh-copy-id {target}"),
    (
        "Host key verification failed",
        "its host key is not known here",
        "ssh {target}   (and compare its key)",
    ),
    ("Could not resolve", "there is no host of this name", "getent hosts {name}   (and correct the name)"),
    ("timed out", "cannot be reached", "ping {name}"),
    ("No route to host", "cannot be reached", "ping {name}"),
    ("Network is unreachable", "cannot be reached", "ping {name}"),
    ("Connection refused", "does not accept ssh connections", "systemctl start ssh   (on {name})"),
)


def no_agent(host: HostSpec, python: str, mpi_kind: str, version: str, code: int | None, said: str) -> str:
    """Why there is no agent. `code` is ssh's exit code, None if it still runs; `said` is its stderr."""
    on = f"ssh {host.target}"
    if code is None:
        return f"{host.name}: the ssh login took too long. Try: {on} true   (and a larger --ssh-timeout)"
    for words, meaning, fix in _SSH_SAYS:
        if code == 255 and words in said:
            own = re.search(r"^ *(ssh-keygen -f .*)", said, re.M)
            fix = own[1].strip() if own and "ssh-keygen" in fix else fix
            fix = fix.format(target=host.target, name=host.name)
            return f"{host.name}: {meaning}{_where(said)}. Try: {fix}"
    if code in (126, 127):
        look = f"Try: {on} ls -l {shlex.quote(python)}   (or set python= in the hostfile)"
        return f"{host.name}: has no Python at {python}. {look}"
    if "No module named 'cmpi" in said:
        install = f"{shlex.quote(python)} -m pip install 'cmpi[{mpi_kind}]=={version}'"
        return f"{host.name}: cmpi is not installed for {python}. Try: {on} {shlex.quote(install)}"
    last = said.strip().splitlines()[-1:] or ["nothing"]
    said_so = f"it said: {last[0]}{_where(said)}"
    return f"{host.name}: the agent did not start (exit code {code}); {said_so}. Try: {on} true"


def _where(said: str) -> str:
    """The file and line that ssh complains about, in words; "" if none.

    >>> _where("Offending ED25519 key in /root/.ssh/known_hosts:3")
    ' (see line 3 of /root/.ssh/known_hosts)'
    """
    found = re.search(r"(/[^\s:]+)(?::| line |: line )(\d+)", said)
    return f" (see line {found[2]} of {found[1]})" if found else ""


def same_machine(name: str, machine: str, others: dict[str, str]) -> str:
    """The message that a host is one of the `others` under another name, judging by `machine`; or "".

    >>> same_machine("10.0.0.2", "boot 7", {"h1": "boot 5", "h2": "boot 7"})
    '10.0.0.2: is the same host as h2. Name it once, with the slots of both'
    """
    twin = next(
        (other for other, its in others.items() if machine and its == machine and other != name), ""
    )
    return f"{name}: is the same host as {twin}. Name it once, with the slots of both" if twin else ""


def other_code(host: HostSpec, there: str, here: str) -> str:
    """The message that the agent has another cmpi than this host.

    >>> other_code(HostSpec("h2", "me@h2"), "0.1.0, code 01234567", "0.1.0, code 89abcdef")
    'h2: has cmpi 0.1.0, code 01234567; this host has 0.1.0, code 89abcdef. Install the same on both'
    """
    found = there if "code" in there else "of an earlier release"
    return f"{host.name}: has cmpi {found}; this host has {here}. Install the same on both"


def differences(host: HostSpec, there: HostFacts, here: HostFacts) -> str:
    """Why this host cannot take part in a job that is started here; "" if it can."""
    on = f"Try: ssh {host.target}"
    pip = f"{shlex.quote(there.executable)} -m pip install"
    if there.python.rpartition(".")[0] != here.python.rpartition(".")[0]:
        return (
            f"{host.name}: Python {there.python} ({there.executable}) is not compatible with {here.python} "
            "here. Choose another Python with python= in the hostfile"
        )
    if there.cmpi != here.cmpi:
        return (
            f"{host.name}: has cmpi {there.cmpi}; this host has {here.cmpi}. {on} {pip} cmpi=={here.cmpi}"
        )
    if len(there.mpi) < 3:
        return f"{host.name}: {' '.join(there.mpi[0].split())}"
    if there.mpi[:2] != here.mpi[:2]:
        has, wanted = (f"{NAMES.get(f.mpi[0], f.mpi[0])} {f.mpi[1]}" for f in (there, here))
        return f"{host.name}: has {has}; this host has {wanted}. {on} {pip} {here.mpi[0]}=={here.mpi[1]}"
    if there.mpi4py != here.mpi4py:
        found = f"mpi4py {there.mpi4py}" if there.mpi4py else "no mpi4py"
        wanted = f"mpi4py {here.mpi4py}"
        return f"{host.name}: has {found}; this host has {wanted}. {on} {pip} mpi4py=={here.mpi4py}"
    return ""
