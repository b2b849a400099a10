import re

import pytest

from cmpi.errors import LaunchError
from cmpi.launcher import wrong_guesses
from cmpi.launcher.cli import parse, wants_colour
from cmpi.launcher.slurm import calls


def test_options_end_where_the_program_begins():
    config = parse(["-n", "4", "--output", "plain", "python", "-n", "7", "--output", "x"])
    assert (config.n, config.output) == (4, "plain")
    assert config.argv == ["python", "-n", "7", "--output", "x"]


def test_one_rank_is_the_default():
    assert parse(["true"]).n == 1


def test_a_double_dash_may_stand_before_the_program():
    assert parse(["--", "-weird-name"]).argv == ["-weird-name"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["-n", "0", "true"], "1 or more; found '0'"),
        (["-n", "-3", "true"], "found '-3'"),
        (["-n", "many", "true"], "found 'many'"),
        ([], "no program given; usage: cmpirun [-n N] [options] PROGRAM [ARGS...]"),
        (["--memory", "5 potatoes", "true"], "5 potatoes"),
        (["--cpus", "-1", "true"], "cpus"),
        (["--output", "pretty", "true"], "pretty"),
        (["--mpi-args", "'x", "true"], "quotation"),
        (["--unknown", "true"], "--unknown"),
        (["--host", "a", "--hostfile", "b", "prog"], "--host and --hostfile both name the hosts"),
        (["--slurm", "--hostfile", "b", "prog"], "Slurm chooses the hosts of a batch job"),
        (["--in", "lab", "--hostfile", "b", "prog"], "--hostfile is given when a job starts"),
    ],
)
def test_wrong_options_exit_with_2_and_name_the_wrong_value(arguments, said, capsys):
    with pytest.raises(SystemExit) as end:
        parse(arguments)
    assert end.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--np", "4", "true"], "no option --np; -n N starts N ranks"),
        (["--nproc_per_node=4", "true"], "no option --nproc_per_node; -n N starts N ranks"),
        (["-n", "2", "-x", "A=1", "true"], "ranks inherit the environment"),
        (["--oversubscribe", "true"], "cmpirun starts more ranks than cores"),
        (["--bind-to", "core", "true"], "--mpi-args='--bind-to ...'"),
        (["--master_port", "1", "true"], "MASTER_ADDR"),
        (["--ouput", "plain", "true"], "did you mean --output?"),
        (["-output", "plain", "true"], "did you mean --output?"),
        (["--host-file=x", "true"], "did you mean --hostfile?"),
        (["--frobnicate", "true"], "no option --frobnicate; see cmpirun --help"),
    ],
)
def test_a_misspelled_option_gets_a_suggestion(arguments, said, capsys):
    with pytest.raises(SystemExit) as end:
        parse(arguments)
    assert end.value.code == 2 and said in capsys.readouterr().err


def test_suggestions_are_only_given_for_unknown_options(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    there_are = set(re.findall(r"(?<![\w-])-[-\w]+", capsys.readouterr().out))
    assert "--hostfile" in there_are and not there_are & wrong_guesses._ANSWER_TO.keys()


def test_a_script_given_without_python_gets_the_complete_command_as_advice(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my job.py").write_text("")
    with pytest.raises(SystemExit) as end:
        parse(["-n", "2", "my job.py", "a b"])
    assert end.value.code == 2
    assert "did you mean: cmpirun python 'my job.py' 'a b'" in capsys.readouterr().err
    (tmp_path / "my job.py").chmod(0o755)
    assert parse(["./my job.py"]).argv == ["./my job.py"]
    assert parse(["other.py"]).argv == ["other.py"], "it may be on PATH"


def test_mpi_args_are_split_as_a_shell_would():
    assert parse(["--mpi-args", "-x 'A B'", "true"]).mpi_args == ["-x", "A B"]
    assert parse(["--mpi-args", "-x A", "--mpi-args=-y", "true"]).mpi_args == ["-x", "A", "-y"]
    assert parse(["true"]).mpi_args == []


def test_resources_are_read_in_their_units():
    config = parse(["--cpus", "1.5", "--memory", "8 GiB", "true"])
    assert (config.cpu_units, config.memory_bytes) == (98304, 8 << 30)


def test_help_teaches_by_examples(capsys):
    with pytest.raises(SystemExit) as end:
        parse(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "cmpirun -n 4 python job.py" in text and "exit code" in text


@pytest.mark.parametrize(
    "choice, terminal, environment, wanted",
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {}, False),
    ],
)
def test_colour_by_option_terminal_and_environment(choice, terminal, environment, wanted, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wants_colour(choice, terminal) is wanted


@pytest.mark.parametrize("job", ["1234", "1234_5", "1234_[1-5]", "1234+1"])
def test_numbers_of_jobs_tasks_and_components_are_accepted(job):
    calls.check_number("logs", job)


@pytest.mark.parametrize("job", ["lab/zzz", "lab", "", "12 34", "-1", "1234_"])
def test_other_names_are_refused_without_asking_slurm(job):
    with pytest.raises(LaunchError, match=r"expected the number of a Slurm job.* or a deployment"):
        calls.check_number("attach", job)
