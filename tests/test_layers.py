"""Folders are the architecture: every import points down."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("cmpi/**/*.py"), *ROOT.glob("launcher/**/*.py")])


BOTTOM = ("cmpi.errors", "cmpi._ids", "cmpi._core.record", "cmpi._core.units")
LAYERS = ("cmpi._core", "cmpi._transport", "cmpi._runtime", "cmpi", "launcher")


def level(module: str) -> int:
    if any(f"{module}.".startswith(f"{name}.") for name in BOTTOM):
        return 0
    if f"{module}.".startswith("cmpi.bench."):
        return len(LAYERS) + 1
    return 1 + next(i for i, layer in enumerate(LAYERS) if f"{module}.".startswith(f"{layer}."))


# The process that runs a closure is a user of the channels, though it lives in the runtime.
EXCEPTIONS = {("cmpi._runtime.worker", "cmpi._receiver")}


def imports(path: pathlib.Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if module == "cmpi":
        return  # the list of public names
    for name, line in imports(path):
        ours = name.startswith(("cmpi.", "launcher."))
        if ours and not {(module, name), (module, name.rpartition(".")[0])} & EXCEPTIONS:
            assert level(name) <= level(module), f"{path}:{line} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_one_file_imports_mpi(path):
    uses = [name for name, _ in imports(path) if name in ("mpi4py.MPI",)]
    # The doctor's probe is a job's program, as the benchmarks are.
    assert not uses or path.name in ("mpi.py", "probe.py") or "bench" in path.parts


PURE = sorted(ROOT.glob("cmpi/_core/*.py"))
FORBIDDEN = {"os", "sys", "socket", "select", "threading", "time", "subprocess", "asyncio", "numpy"}


@pytest.mark.parametrize("path", PURE, ids=lambda p: p.name)
def test_the_core_has_no_io_no_clock_and_no_threads(path):
    assert not {name.split(".")[0] for name, _ in imports(path)} & FORBIDDEN


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_small_enough_to_read(path):
    assert len(path.read_text().splitlines()) <= 450
