"""What is wrong with a host, in one line with the command that mends it. Pure."""

from __future__ import annotations

import shlex

from cmpi.launcher.mpi.find_mpi import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cmpi._core.protocol.launcher_agent import HostFacts
    from cmpi.launcher.hosts.hostfile import HostSpec

# What ssh says, and what that means; sources: OpenSSH's ssh(1), sshconnect.c, and what was seen.
_SSH_SAYS = (
    ("Permission denied", "refuses your key", "ssh-copy-id {target}"),
    ("Host key verification failed", "is not known here", "ssh {target}   (and compare its key)"),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "has another host key than before", "ssh-keygen -R {name}"),
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
        return f"{host.name}: does not answer by ssh. Try: {on} true"
    for words, meaning, mend in _SSH_SAYS:
        if code == 255 and words in said:
            return f"{host.name}: {meaning}. Try: {mend.format(target=host.target, name=host.name)}"
    if code in (126, 127):
        look = f"Try: {on} ls -l {shlex.quote(python)}   (and name another with python= in the hostfile)"
        return f"{host.name}: has no Python at {python}. {look}"
    if "No module named 'cmpi" in said:
        install = f"{shlex.quote(python)} -m pip install 'cmpi[{mpi_kind}]=={version}'"
        return f"{host.name}: has no cmpi for {python}. Try: {on} {shlex.quote(install)}"
    last = said.strip().splitlines()[-1:] or ["nothing"]
    return f"{host.name}: no agent came up (exit code {code}); it said: {last[0]}. Try: {on} true"


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
