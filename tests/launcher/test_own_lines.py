"""The #SBATCH lines of a program's own script."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmpi.errors import UsageError
from cmpi.launcher.cli import parse as parse_command
from cmpi.launcher.slurm import own_lines, script

SCRIPT = """\
#!/usr/bin/env python3
# A sweep.
#SBATCH --nodes=2 -n4
#SBATCH --time 10:00   # enough
##SBATCH --partition=off

#SBATCH -p main --mem=2G --exclusive
#SBATCH --job-name="my job" --no-requeue
import cmpi
#SBATCH --account=late
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "job.py").write_text(text)

    return write


def batch_script(*arguments):
    config = parse_command(["--slurm", *arguments])
    text = script.script(config.batch, config.n, "job.py", "/w", ["cmpirun", *config.inner, *config.argv])
    return text.splitlines()


def test_sbatch_lines_are_options_up_to_the_first_statement(written):
    written(SCRIPT)
    lines = batch_script("python", "job.py")
    for option in (
        "nodes=2",
        "ntasks=4",
        "time=10:00",
        "partition=main",
        "mem=2G",
        "exclusive",
        "no-requeue",
    ):
        assert lines.count(f"#SBATCH --{option}") == 1, lines
    assert '#SBATCH --job-name="my job"' in lines
    assert not any("account" in line or "off" in line for line in lines)
    assert "cmpirun -n 4 python job.py" in lines


def test_the_command_line_wins(written):
    written(SCRIPT)
    lines = batch_script("-n", "3", "--time=1", "--mem-per-cpu", "1G", "--requeue", "python", "job.py")
    assert "#SBATCH --ntasks=3" in lines and "#SBATCH --time=1" in lines and "#SBATCH --requeue" in lines
    assert not any("10:00" in line or "--mem=" in line or "no-requeue" in line for line in lines)
    assert "cmpirun -n 4 -n 3 python job.py" in lines
    last = batch_script("--slurm-args=--exclusive=user --mem=1G", "python", "job.py")
    assert last.index("#SBATCH --mem=1G") == max(i for i, line in enumerate(last) if "#SBATCH" in line)
    assert "#SBATCH --mem=2G" not in last


def test_without_slurm_or_lines_nothing_is_read(written):
    written(SCRIPT)
    assert parse_command(["python", "job.py"]).n == 1
    written("print('#SBATCH -N 7')\n")
    assert "#SBATCH --nodes=1" in batch_script("python", "job.py")


@pytest.mark.parametrize(
    "line, said",
    [
        ("#SBATCH -n 5", "job.py:4: --ntasks=5 contradicts --ntasks=4 in job.py:2; remove one"),
        ("#SBATCH --mem-per-cpu=1G", "job.py:4: --mem-per-cpu=1G contradicts --mem=2G in job.py:3"),
        ("#SBATCH --nodes=2-4", "job.py:4: --nodes: cmpirun needs one number, 1 or more; found '2-4'"),
        ("#SBATCH --output=x.txt", "job.py:4: remove --output: cmpirun keeps the output in .cmpi"),
        ("#SBATCH hello", "job.py:4: expected options of sbatch, such as --time=10:00; found 'hello'"),
        ("#SBATCH --comment='x", "job.py:4: cannot split"),
    ],
)
def test_a_wrong_line_is_refused_by_its_number(written, capsys, line, said):
    written(f"#!/usr/bin/python\n#SBATCH -n 4\n#SBATCH --mem=2G\n{line}\n")
    with pytest.raises(SystemExit) as end:
        parse_command(["--slurm", "python", "job.py"])
    assert end.value.code == 2 and said in capsys.readouterr().err


def test_the_number_of_ranks_is_needed():
    with pytest.raises(UsageError, match=r"job.py:1: with --ntasks-per-node, say the number of ranks"):
        own_lines.as_ours(own_lines.parse("#SBATCH --ntasks-per-node=2", "job.py"))


VALUES = st.text("abz09:.,%# _-", min_size=1).filter(lambda text: not text.startswith("-") and text.strip())
OPTIONS = st.dictionaries(st.sampled_from(["qos", "gres", "comment", "export", "hint"]), VALUES)


@given(OPTIONS, st.booleans())
def test_passed_on_options_parse_to_the_same_values(options, apart):
    between = " " if apart else "="
    words = [f"--{name}{between}{shlex.quote(value)}" for name, value in options.items()]
    read = own_lines.parse("#SBATCH " + " ".join(words), "job.py")
    assert {it.name: it.value for it in read} == options
    again = own_lines.parse("".join(f"#SBATCH {it.text}\n" for it in read), "job.py")
    assert [(it.name, it.value) for it in again] == list(options.items())
