"""Folders are the architecture: every import points down, and there are no circular imports."""

import ast
import collections
import functools
import graphlib
import pathlib

import pytest

from cmpi._runtime import programs

ROOT = pathlib.Path(__file__).parents[1]


def module_of(path):
    """The name by which a file is imported: `launcher/` is installed as `cmpi.launcher`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("cmpi", *parts) if parts[0] == "launcher" else parts).removesuffix(".__init__")


PATHS = {
    module_of(path): path
    for path in sorted([*ROOT.glob("cmpi/**/*.py"), *ROOT.glob("launcher/**/*.py")])
    if "cmpi/launcher" not in path.as_posix()  # the same files, through the link
}

# From the lowest layer up. A file belongs to the row with the longest prefix of its name. The fork server
# and the worker run closures, so they are above the channels that a closure uses, though they are in the
# runtime.
LAYERS = (
    ("cmpi._base", "cmpi.errors", "cmpi.identifiers", "cmpi._runtime.environment"),
    ("cmpi._core.protocol", "cmpi._core.limits", "cmpi._core.channel"),
    ("cmpi._core.scheduling", "cmpi._core.output"),
    ("cmpi._core",),
    ("cmpi._transport",),
    ("cmpi._runtime.programs", "cmpi._runtime.isolated", "cmpi._runtime.linux"),
    ("cmpi._runtime",),
    ("cmpi.channels", "cmpi.processes", "cmpi.slurm", "cmpi._slurm_task"),
    ("cmpi._runtime.process.worker", "cmpi._runtime.monitor.fork_server"),
    ("cmpi.pool", "cmpi.joblib", "cmpi.ipython"),
    ("cmpi.data",),
    ("cmpi.launcher",),
    ("cmpi.bench",),
)


def level(module):
    fitting = [
        (len(name), floor)
        for floor, names in enumerate(LAYERS)
        for name in names
        if f"{module}.".startswith(f"{name}.")
    ]
    assert fitting, f"{module} is on no floor"
    return max(fitting)[1]


@functools.cache
def text(module):
    return PATHS[module].read_text()


@functools.cache
def nodes(module):
    """All nodes of a file's syntax tree."""
    return list(ast.walk(ast.parse(text(module))))


@functools.cache
def imports(module, for_types=False):
    """The modules of cmpi that a file imports, also inside functions, as (module, line); with `for_types`,
    those that it imports only for types."""
    return list(_imports(module, for_types))


def _imports(module, for_types):
    typing_only = {
        id(node)
        for block in nodes(module)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in nodes(module):
        if id(node) in typing_only and not for_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            of_modules = [name for name in names if name in PATHS]
            yield from ((name, node.lineno) for name in of_modules or [node.module])


def test_imports_point_down():
    for module in PATHS.keys() - {"cmpi"}:  # that is the list of public names
        for name, line in imports(module, for_types=True):
            if name.startswith("cmpi."):
                assert level(name) <= level(module), f"{PATHS[module]}:{line} imports {name}"


def test_there_are_no_import_cycles_even_inside_functions_or_for_types():
    graph = {module: {name for name, _ in imports(module, True) if name in PATHS} for module in PATHS}
    graphlib.TopologicalSorter(graph).prepare()  # the error shows the circle


def imports_mpi(module):
    return any(
        "mpi4py.MPI" in [f"{node.module}.{alias.name}" for alias in node.names]
        if isinstance(node, ast.ImportFrom)
        else isinstance(node, ast.Import) and "mpi4py.MPI" in [alias.name for alias in node.names]
        for node in nodes(module)
    )


def test_only_one_file_imports_mpi():
    # The doctor's probe is a program of a job, as the benchmarks are.
    programs_of_jobs = ("cmpi.bench", "cmpi.launcher.doctor.probe_job")
    found = {module for module in PATHS if imports_mpi(module) and not module.startswith(programs_of_jobs)}
    assert found == {"cmpi._transport.mpi"}


PURE = [module for module in PATHS if f"{module}.".startswith(("cmpi._core.", "cmpi._base."))]
FORBIDDEN = {"os", "sys", "socket", "select", "threading", "time", "subprocess", "asyncio", "numpy"}


def test_the_core_has_no_io_no_clock_and_no_threads():
    for module in PURE:
        assert not {name.split(".")[0] for name, _ in imports(module)} & FORBIDDEN, module


def test_files_stay_small_enough_to_read():
    assert not {module: n for module in PATHS if (n := len(text(module).splitlines())) > 450}


@pytest.mark.parametrize("program", [programs.ROOT_MAIN, programs.SPAWN_STUB, programs.RSH_CLIENT])
def test_programs_started_by_path_find_the_package_above_them(program):
    path = pathlib.Path(programs.path_of(program))
    assert path.exists()
    assert f'__file__.rsplit("/", {len(pathlib.PurePath(program).parts)})[0]' in path.read_text() or (
        f'abspath(__file__).rsplit("/", {len(pathlib.PurePath(program).parts)})[0]' in path.read_text()
    )


def test_no_two_public_classes_have_the_same_name():
    found = collections.defaultdict(list)
    for module in PATHS:
        for statement in ast.parse(text(module)).body:
            if isinstance(statement, ast.ClassDef) and not statement.name.startswith("_"):
                found[statement.name].append(module)
    assert not {name: modules for name, modules in found.items() if len(modules) > 1}


MAY_LISTEN = ("cmpi._transport.door", "cmpi.bench.jobs.pair")  # which compares with multiprocessing
MODULES_THAT_HAVE_ONE = {"door", "doors", "joining", "socket_transport"}  # a function called `listen`
SERVERS = {"create_server", "start_server", "start_unix_server", "create_unix_server", "Listener"}


def test_only_the_door_listens():
    """A socket that listened elsewhere would not have its bounds, its time limit and its proof."""
    for module in PATHS.keys() - set(MAY_LISTEN):
        for node in nodes(module):
            if isinstance(node, ast.Call):
                owner, _, name = ast.unparse(node.func).rpartition(".")
                of_socket = name == "listen" and owner and owner not in MODULES_THAT_HAVE_ONE
                assert name not in SERVERS and not of_socket, f"{PATHS[module]}:{node.lineno} listens"


# What may measure time by the real clock. Limits on how long a part of cmpi may take are measured by
# `_transport/clock.py`, which does not count the time in which the job is stopped.
REAL_CLOCK = {
    "cmpi._transport.clock": "it is made of it",
    "cmpi._runtime.root.bridge": "the times of output, for the reader",
    "cmpi._runtime.root.deployment_table": "how long a program took, for the reader",
    "cmpi._runtime.root.root": "how long the job took, for the reader",
    "cmpi._runtime.process.wait_registry": "how long a wait has lasted, for the reader",
    "cmpi._runtime.monitor.rank_stacks": "the CPU time used per second",
    "cmpi._runtime.fabric.agent": "when to nap, and for how long",
    "cmpi._runtime.process.socket_waits": "the user's timeouts",
    "cmpi._runtime.slurm_poller": "Slurm goes on while the job is stopped",
    "cmpi._runtime.slurm_question": "Slurm goes on while the job is stopped",
    "cmpi.launcher.slurm.add_nodes": "Slurm goes on while the job is stopped",
    "cmpi.launcher.slurm.follow": "Slurm goes on while the job is stopped",
    "cmpi.launcher.slurm.for_guest": "Slurm goes on while the job is stopped",
}


def test_only_times_for_the_user_are_those_of_the_real_clock():
    watched = ("cmpi._runtime", "cmpi._transport", "cmpi.launcher")
    found = {module for module in PATHS if module.startswith(watched) and "monotonic" in text(module)}
    assert found == REAL_CLOCK.keys()
