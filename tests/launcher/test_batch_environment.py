"""What a batch script adds if Slurm does not pass the environment on."""

import subprocess

from cmpi.launcher.cli import parse
from cmpi.launcher.slurm import environment, script


def test_path_is_set_only_if_it_is_not_exported(monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/opt/a b/bin")
    monkeypatch.setattr("sys.executable", "/opt/a b/bin/python")
    line = "PATH='/opt/a b/bin':$PATH  # the environment is not exported: see --export"

    def lines(*options):
        config = parse(["--slurm", *options, "python", "job.py"])
        return script.script(config.batch, 1, "job.py", "/w", ["cmpirun"]).splitlines()

    assert line not in lines()
    assert line in lines("--slurm-args=--export NONE") and line in lines("--slurm-args=--export=A,B")
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")
    assert line in lines() and line not in lines("--slurm-args=--export=ALL")
    monkeypatch.setattr("sys.executable", "/elsewhere/bin/python")
    assert not any(each.startswith("PATH") for each in lines())


def test_module_is_looked_for_where_login_shells_find_it(tmp_path):
    (tmp_path / "lmod.sh").write_text('module() { echo "loads $2"; }\n')
    lines = environment.setup(["module load gcc", "no-such-command x", "false", "echo last"])
    text = "\n".join(lines).replace("/etc/profile.d", str(tmp_path))
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "loads gcc\nlast\n"
    told = [line for line in done.stderr.splitlines() if line.startswith("cmpirun")]
    assert told == ["cmpirun: a command of --setup was not found: no-such-command x"]
    assert environment.setup(["export A=1"])[0] == "export A=1"
