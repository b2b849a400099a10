"""Hosts h1, h2, ... on this one machine: namespaces of their own, a network between them, sshd in each.

A host is a process in new network, mount, PID, IPC and UTS namespaces: it has its own /tmp, /run and
/dev/shm, its own host name and its own pid 1, and shares the files that it is given. The network
is a bridge in a network namespace that nobody else is in.

    python -m tests.cluster.hosts N [SHARED...]     brings N hosts up until stdin is closed
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

NEEDED = ("ip", "tc", "unshare", "nsenter", "ssh", "sshd", "ssh-keygen", "mount")
SUBNET = "10.83.0"
SSHD_CONFIG = """\
Port 22
ListenAddress 0.0.0.0
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/client_key.pub
PidFile /run/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
MaxStartups 100
MaxSessions 100
AcceptEnv none
"""
SSH_CONFIG = """\
Host *
    IdentityFile {folder}/client_key
    UserKnownHostsFile {folder}/known_hosts
    StrictHostKeyChecking yes
"""
# Pid 1 of a host. Mounts of what lies below /tmp or /run are taken along to the new ones.
INIT = """\
set -e
mount --make-rprivate /
hostname {name}
mkdir -p {folder}/kept.{name}
i=0
for path in {shared}; do
    i=$((i + 1)); mkdir -p {folder}/kept.{name}/$i; mount --bind "$path" {folder}/kept.{name}/$i
done
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/kept; mount --rbind {folder}/kept.{name} /mnt/kept
mkdir /mnt/conf; mount --bind {folder} /mnt/conf
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mkdir -p {folder} /run/sshd
mount --bind /mnt/conf {folder}
i=0
for path in {shared}; do
    i=$((i + 1)); mkdir -p "$path"; mount --bind /mnt/kept/$i "$path"
done
umount -l /mnt
mount --bind {folder}/hosts /etc/hosts
mkdir -p /root/.ssh
mount -t tmpfs -o mode=700 tmpfs /root/.ssh
cp {folder}/ssh_config /root/.ssh/config
ip link set lo up
while ! ip link set eth0 up 2>/dev/null; do sleep 0.02; done
ip addr add {address}/24 dev eth0
touch {folder}/{name}.up
exec {sshd} -D -e -f {folder}/sshd_config
"""


def missing():
    """What is needed and not here, in words; "" if nothing is."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [name for name in NEEDED if not _which(name)]
    if absent:
        return f"no {', '.join(absent)} here (apt-get install iproute2 openssh-server openssh-client)"
    if subprocess.run(["unshare", "-n", "-m", "-p", "-u", "-i", "--fork", "true"], check=False).returncode:
        return "this kernel, or this container, allows no namespaces"
    return ""


def _which(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class Hosts:
    """`count` hosts; `shared` are folders that all of them see, at their own paths."""

    def __init__(self, count, shared):
        self.names = [f"h{i}" for i in range(1, count + 1)]
        self.shared = [str(path) for path in shared]
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hosts-"))
        self.folder.chmod(0o755)
        self._switch = None
        self._hosts = {}

    def start(self):
        at = self.folder
        for key in ("host_key", "client_key", "stranger_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(at / key)], check=True)
        public = " ".join((at / "host_key.pub").read_text().split()[:2])
        lines = [f"{self.address(name)} {name}" for name in self.names]
        (at / "hosts").write_text("127.0.0.1 localhost\n" + "\n".join(lines) + "\n")
        names = ",".join([*self.names, *map(self.address, self.names)])
        (at / "known_hosts").write_text(f"{names} {public}\n")
        (at / "sshd_config").write_text(SSHD_CONFIG.format(folder=at))
        (at / "ssh_config").write_text(SSH_CONFIG.format(folder=at))
        self._switch = subprocess.Popen(["unshare", "-n", "sleep", "infinity"], start_new_session=True)
        self._until(lambda: self._own_network(self._switch.pid), "a namespace for the switch")
        self._on_switch("ip", "link", "add", "br0", "type", "bridge")
        self._on_switch("ip", "link", "set", "br0", "up")
        for name in self.names:
            self.boot(name)

    def boot(self, name):
        """Switch a host on, the first time or again."""
        (self.folder / f"{name}.up").unlink(missing_ok=True)
        script = INIT.format(
            name=name,
            folder=self.folder,
            address=self.address(name),
            shared=" ".join(self.shared),
            sshd=_which("sshd"),
        )
        with open(self.folder / f"{name}.log", "ab") as log:
            outer = subprocess.Popen(
                [
                    "unshare",
                    "-n",
                    "-m",
                    "-p",
                    "-u",
                    "-i",
                    "--fork",
                    "--mount-proc",
                    "--kill-child",
                    "sh",
                    "-c",
                    script,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        children = pathlib.Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        self._until(lambda: children.read_text().strip(), f"the first process of {name}")
        first = int(children.read_text())
        self._until(lambda: self._own_network(first), f"a namespace for {name}")
        self._hosts[name] = (outer, first)
        self._on_switch("ip", "link", "del", f"to-{name}", check=False)
        self._on_switch(
            "ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", str(first)
        )
        self._on_switch("ip", "link", "set", f"to-{name}", "master", "br0", "up")
        self._until((self.folder / f"{name}.up").exists, name)

    def power_off(self, name):
        """Switch a host off, as if its plug were pulled: nobody hears of it."""
        self.cut(name)
        outer, first = self._hosts.pop(name)
        os.kill(first, signal.SIGKILL)
        outer.wait()

    def cut(self, name):
        """Pull its network cable."""
        self._on_switch("ip", "link", "set", f"to-{name}", "down")

    def heal(self, name):
        """Put the cable back."""
        self._on_switch("ip", "link", "set", f"to-{name}", "up")

    def slow(self, name, *netem):
        """Have tc spoil what goes to and from it: ("delay", "50ms", "loss", "1%"); nothing: no more."""
        self._on_switch("tc", "qdisc", "del", "dev", f"to-{name}", "root", check=False)
        if netem:
            self._on_switch("tc", "qdisc", "add", "dev", f"to-{name}", "root", "netem", *netem)

    def command(self, name, *argv):
        """The command that runs `argv` on a host, in the folder that it is called in."""
        first = self._hosts[name][1]
        inside = ["nsenter", "-t", str(first), "-n", "-m", "-p", "-u", "-i", f"--wdns={os.getcwd()}"]
        return [*inside, *map(str, argv)]

    def call(self, name, *argv, check=True):
        """What a command prints there."""
        done = subprocess.run(self.command(name, *argv), capture_output=True, text=True, check=check)
        return done.stdout

    def address(self, name):
        return f"{SUBNET}.{name[1:]}"

    def stop(self):
        for outer, first in self._hosts.values():
            os.kill(first, signal.SIGKILL)
            outer.wait()
        if self._switch is not None:
            self._switch.kill()
            self._switch.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _on_switch(self, *command, check=True):
        inside = ["nsenter", "-t", str(self._switch.pid), "-n", *command]
        subprocess.run(inside, check=check, stderr=None if check else subprocess.DEVNULL)

    def _own_network(self, pid):
        return os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")

    def _until(self, ready, what, limit_s=20):
        end_s = time.monotonic() + limit_s
        while not ready():
            assert time.monotonic() < end_s, f"{what} did not come up; see {self.folder}"
            time.sleep(0.01)


def main():
    hosts = Hosts(int(sys.argv[1]), sys.argv[2:])
    try:
        hosts.start()
        for name in hosts.names:
            print(name, " ".join(hosts.command(name)), flush=True)
        sys.stdin.read()
    finally:
        hosts.stop()


if __name__ == "__main__":
    main()
