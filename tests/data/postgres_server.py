"""A PostgreSQL server of the tests' own, on a Unix socket in a temporary folder."""

import contextlib
import glob
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

PROGRAMS = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: float(path.split("/")[4]))
INITDB = PROGRAMS[-1] if PROGRAMS else shutil.which("initdb")
MISSING = "NOT TESTED: no PostgreSQL server is installed (apt install postgresql)"
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "timezone": "UTC",
    "max_connections": "40",
    "lock_timeout": "30s",
}


@contextlib.contextmanager
def server(parent=None):
    """Start a server, and yield the address of its database; `ada` logs in with the password `s3cret!`.

    Its files and its socket are in a new folder in `parent`, by default in that for temporary files. The
    server refuses to run as root; then user `nobody` runs it.
    """
    user = {}
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    bin = pathlib.Path(INITDB).parent
    with tempfile.TemporaryDirectory(prefix="cmpi-pg-", dir=parent) as folder:
        if user:
            os.chown(folder, user["user"], user["group"])
        password = pathlib.Path(folder, "password")
        password.write_text("s3cret!")
        password.chmod(0o644)
        db = ["-D", f"{folder}/db"]
        how = ["-U", "ada", "-A", "scram-sha-256", "--pwfile", password, "--no-sync"]
        initdb = [INITDB, *db, *how, "-E", "UTF8", "--locale=C"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)
        with open(f"{folder}/db/postgresql.conf", "a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
            file.write(f"unix_socket_directories = '{folder}'\n")
        # setpriv: the server ends with this process, even if that is killed.
        server = ["setpriv", "--pdeathsig", "INT", bin / "postgres", *db]
        with open(f"{folder}/log", "wb") as log:
            process = subprocess.Popen(server, stdout=log, stderr=log, cwd=folder, **user)
        with process:
            try:
                ready = [bin / "pg_isready", "-q", "-h", folder]
                while subprocess.run(ready, check=False).returncode:
                    assert process.poll() is None, pathlib.Path(folder, "log").read_text()
                    time.sleep(0.02)
                yield f"postgresql://ada:s3cret%21@/postgres?host={folder}"
            finally:
                process.send_signal(signal.SIGQUIT)
