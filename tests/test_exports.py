import importlib
import subprocess
import sys

import pytest

import cmpi


def test_every_public_name_exists_and_is_documented():
    for name in cmpi.__all__:
        assert getattr(cmpi, name).__doc__, name


def test_the_public_names_are_exactly_those_of_the_modules():
    assert sorted(cmpi.__all__) == sorted(cmpi._HOME_OF)
    errors = importlib.import_module("cmpi.errors").__all__
    assert set(errors) <= set(cmpi.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(cmpi, "nonsense")  # noqa: B009


def test_commonly_guessed_names_are_answered_with_the_right_name():
    for name, word in (
        ("gather", "MPI.COMM_WORLD.gather"),
        ("rank", "cmpi.world().index"),
        ("Queue", "cmpi.Sender"),
        ("join", "cmpi.wait"),
        ("spwan", "Did you mean cmpi.spawn?"),
        ("Sendr", "Did you mean cmpi.Sender?"),
    ):
        with pytest.raises(AttributeError) as raised:
            getattr(cmpi, name)
        assert word in str(raised.value)
    assert not hasattr(cmpi, "__wrapped__") and not hasattr(cmpi, "_spawn")


def test_importing_cmpi_loads_neither_mpi_nor_numpy():
    code = "import cmpi; print([m for m in ('mpi4py', 'numpy', 'dataclasses') if m in sys.modules])"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
