"""A definition of a script is the same object in every process of the job, however it travels."""

import pytest

PRELUDE = """
from __future__ import annotations
import abc, contextlib, dataclasses, enum, functools, inspect, pickle, typing
import cmpi
from cmpi import Receiver, Sender

def trials(found):
    for name, call, wanted in found:
        try: got = call()
        except Exception as error: got = f"{type(error).__name__}: {error}"
        if got != wanted: print(f"{name}: found {got!r}, not {wanted!r}")
    return len(found)

def fails(call):
    try: call()
    except Exception as error: return type(error).__name__
"""


def test_ranks_send_what_the_script_defines_by_name(job):
    text = """
class Colour(enum.Enum): RED = 1
class Stop(Exception): pass
@dataclasses.dataclass
class Point: x: float
UserId = typing.NewType("UserId", int)
@functools.lru_cache
def cached(x): return x
def function(): return rank
Number = typing.TypeVar("Number")
rank = None
world = cmpi.world(); rank = world.index(cmpi.pid()); other = world[1 - rank]
things = [Colour.RED, Point(1.0), Point, Stop("x"), UserId, cached, Colour, Number]
if rank == 0:
    def only_here(): pass
    sender = Sender[object](other)
    for thing in things: sender.send(thing)
    sender.send((lambda: rank, function))   # the lambda goes by value, what it uses is the receiver's
    sender.send((lambda: Point, Point(2)))
    sender.send(only_here)
    sender.send("after")
else:
    receiver = Receiver[object](other)
    colour, point, cls, stop, *rest = [receiver.recv() for _ in things]
    by_value, function_got = receiver.recv()
    returns_point, inside = receiver.recv()
    print("tried", trials([
        ("enum", lambda: colour is Colour.RED, True),
        ("equal", lambda: point == Point(1.0) and isinstance(point, Point), True),
        ("class", lambda: cls is Point, True),
        ("exception", lambda: type(stop) is Stop, True),
        ("the rest", lambda: all(a is b for a, b in zip(rest, things[4:])), True),
        ("globals", lambda: (by_value(), function_got()), (1, 1)),
        ("by name within by value", lambda: returns_point() is Point and type(inside) is Point, True),
    ]))
    try: receiver.recv()
    except cmpi.UsageError as error: print("only_here" in str(error), "every rank" in str(error))
    print(receiver.recv())
"""
    result = job(PRELUDE + text, options=("-n", "2"))
    assert (result.code, result.out) == (0, "tried 7\nTrue True\nafter\n"), result


def test_a_spawned_process_has_a_main_of_its_own_with_what_the_script_defines(program):
    text = """
@dataclasses.dataclass
class Tree:
    left: Tree | None = None
    kind: Kind | None = None
class Kind(enum.Enum):
    OAK = (1, 2); ELM = (3, 4); SAME = (1, 2)
    def __init__(self, mass, age): self.mass, self._age = mass, age
class Rights(enum.IntFlag): READ = 1; WRITE = 2; BOTH = 3
class Outer:
    class Inner: pass
class Name(typing.NamedTuple): first: str = "a"
class Film(typing.TypedDict): title: str
UserId = typing.NewType("UserId", int)
@functools.singledispatch
def show(x): return "any"
@show.register
def _(x: int): return "int"
@contextlib.contextmanager
def context(): yield 5
def hinted(tree: Tree, user: UserId) -> Kind: ...
@functools.lru_cache(maxsize=None)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
class Mesh:
    def __init__(self, n): self.n = n
    @functools.cached_property
    def area(self): return self.n ** 2
    @functools.lru_cache
    def volume(self): return self.n ** 3
def in_context():
    with context() as x: return x
def make_local():
    class Local: pass
    return Local
def child(parent, tree, local, a_local):
    import __main__
    def subclass():
        @dataclasses.dataclass
        class Sub(Tree): more: int = 3
        return Sub().more, dataclasses.fields(Sub)[0].default
    tried = [
        ("main", lambda: __main__.Tree is Tree and __name__, "__main__"),
        ("file", lambda: __main__.__file__ == __file__, True),
        ("isinstance", lambda: isinstance(tree, Tree) and tree.kind is Kind.OAK, True),
        ("local class", lambda: isinstance(a_local, local), True),
        ("pickle", lambda: pickle.loads(pickle.dumps((tree, Outer.Inner, UserId))),
            (tree, Outer.Inner, UserId)),
        ("hints", lambda: typing.get_type_hints(Tree)["kind"], Kind | None),
        ("hints of a function", lambda: typing.get_type_hints(hinted),
            {"tree": Tree, "user": UserId, "return": Kind}),
        ("source", lambda: inspect.getsource(fib).split("\\n")[1][:10], "def fib(n)"),
        ("source of a class", lambda: inspect.getsource(Outer).split("\\n")[0], "class Outer:"),
        ("enum", lambda: (Kind.OAK.mass, Kind.ELM._age, Kind.SAME is Kind.OAK, Kind((3, 4))),
            (1, 4, True, Kind.ELM)),
        ("flag", lambda: Rights.READ | Rights.WRITE is Rights.BOTH and Rights(3), Rights.BOTH),
        ("named tuple", lambda: Name()._replace(first="b"), Name("b")),
        ("typed dict", lambda: typing.get_type_hints(Film), {"title": str}),
        ("single dispatch", lambda: (show(1), show("")), ("int", "any")),
        ("context manager", in_context, 5),
        ("lru_cache", lambda: (fib(30), Mesh(2).volume()), (832040, 8)),
        ("cached_property", lambda: Mesh(7).area, 49),
        ("subclass of a dataclass", subclass, (3, None)),
    ]
    rest = UserId, fib, show, a_local, Tree
    back = trials(tried), tree, Kind.ELM, Rights.BOTH, Name(), Outer.Inner(), *rest
    Sender(parent).send(back)
local = make_local()
init, hash_before = Tree.__init__, Kind.OAK.mass
kid = cmpi.spawn(child, Tree(Tree(), Kind.OAK), local, local())
back = Receiver(kid).recv()
tried, *back = back
print(tried, [type(back[0]) is Tree,
    back[0] == Tree(Tree(), Kind.OAK), back[1] is Kind.ELM, back[2] is Rights.BOTH,
    type(back[3]) is Name, type(back[4]) is Outer.Inner, back[5] is UserId, back[6] is fib, back[7] is show,
    type(back[8]) is local, back[9] is Tree].count(True))
print(Tree.__init__ is init, child.__globals__ is globals())
"""
    assert program(text) == "18 11\nTrue True\n"


def test_classes_with_slots_are_the_same_on_both_sides(program):
    text = """
class Plain:
    __slots__ = ("x",)
    def __init__(self, x): self.x = x
class Weak:
    __slots__ = ("x", "__weakref__")
    def __init__(self, x): self.x = x
class Private:
    __slots__ = ("__x",)
    def __init__(self, x): self.__x = x
    @property
    def x(self): return self.__x
class Sub(Plain):
    __slots__ = "y"
class Mixed(Plain): pass
@dataclasses.dataclass(slots=True)
class Data: x: int
@dataclasses.dataclass(slots=True, frozen=True)
class Frozen: x: int
KINDS = (Plain, Weak, Private, Sub, Mixed, Data, Frozen)
def child(parent, sent):
    found = [thing.x for thing in sent], [hasattr(thing, "__dict__") for thing in sent].count(True)
    Sender(parent).send((found, [kind(i) for i, kind in enumerate(KINDS)]))
kid = cmpi.spawn(child, [kind(-i) for i, kind in enumerate(KINDS)])
found, back = Receiver(kid).recv()
print(found, [thing.x for thing in back], [type(thing) for thing in back] == list(KINDS))
"""
    wanted = "([0, -1, -2, -3, -4, -5, -6], 1) [0, 1, 2, 3, 4, 5, 6] True\n"
    assert program(text) == wanted


def test_functions_of_a_script_share_one_namespace_also_when_they_travel_one_by_one(program):
    text = """
model, threshold, cache = None, 1, {}
def load():
    global model
    model = "loaded"
def use(): return model
def task(x):
    cache[x] = threshold
    return len(cache), threshold, model
class Job:
    def run(self): return task(9)[0]
def worker(parent):
    sender = Sender(parent)
    for f in Receiver(parent): sender.send(f())
kid = cmpi.spawn(worker)
sender, receiver = Sender(kid), Receiver(kid)
def there(f):
    sender.send(f)
    return receiver.recv()
print(there(load), there(use), there(lambda: task(1)), there(lambda: task(2)), there(Job().run))
threshold = 5      # bound to another value here: the worker takes it over, but keeps what it has assigned
print(there(lambda: task(3)), model)
def use(): return "redefined"
print(there(use), there(lambda: use()))
"""
    assert program(text) == (
        "None loaded (1, 1, 'loaded') (2, 1, 'loaded') 3\n(4, 5, 'loaded') None\nredefined redefined\n"
    )


def test_processes_with_one_origin_agree_whichever_way_a_class_came(program):
    text = """
@dataclasses.dataclass
class Point: x: int
def second(parent, first):
    got = [Receiver(first).recv(), Receiver(parent).recv()]
    same = type(got[0]) is type(got[1]) is Point, got[0] == got[1] == Point(1)
    Sender(parent).send((same, got[0]))
def first(parent):
    Sender(Receiver(parent).recv()).send(Point(1))
a = cmpi.spawn(first)
b = cmpi.spawn(second, a)
Sender(a).send(b); Sender(b).send(Point(1))
print(Receiver(b).recv() == ((True, True), Point(1)))
"""
    assert program(text) == "True\n"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_process_pools_and_mpi_work_in_spawned_processes(jobs, cmpirun, method):
    text = (
        PRELUDE
        + """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
@dataclasses.dataclass
class Particle: x: float
def square(p): return Particle(p.x ** 2)
def work(parent, method):
    from mpi4py import MPI  # here, as a process of the pool imports the script and is no process of MPI's
    comm = MPI.COMM_WORLD
    got = comm.sendrecv(Particle(comm.rank), dest=1 - comm.rank, source=1 - comm.rank)
    if comm.rank == 0:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
            got = list(pool.map(square, [got, Particle(3)]))
    Sender(parent).send(got)
if __name__ == "__main__":
    print([Receiver(pid).recv() for pid in cmpi.spawn_group(2, work, sys.argv[1])])
"""
    )
    result = cmpirun("python", jobs.script(text), method)
    assert (result.code, result.out) == (0, "[[Particle(x=1), Particle(x=9)], Particle(x=0)]\n"), result


def test_a_script_that_runs_as_a_module_is_one_in_its_children_too(jobs, cmpirun):
    (jobs.folder / "package").mkdir()
    (jobs.folder / "package" / "__init__.py").write_text("")
    (jobs.folder / "package" / "other.py").write_text("value = 7")
    text = """
import cmpi, sys
class Thing: pass
def child(parent):
    from .other import value
    main = sys.modules["__main__"]
    cmpi.Sender(parent).send((value, main.__spec__.name, Thing()))
value, name, thing = cmpi.Receiver(cmpi.spawn(child)).recv()
print(value, name, type(thing) is Thing)
"""
    jobs.script(text, "package/job.py")
    result = cmpirun("python", "-m", "package.job")
    assert (result.code, result.out) == (0, "7 package.job True\n"), result


def test_received_arrays_are_writable(program):
    text = """
import numpy as np
def child(parent):
    receiver, plain = Receiver(parent), []
    for _ in range(6):
        array = receiver.recv()
        array[..., 0] = 1
        plain.append((array.shape, float(array[..., 0].sum()), array.flags.f_contiguous))
    Sender(parent).send(plain)
kid = cmpi.spawn(child)
sender = Sender(kid)
shared = np.broadcast_to(np.zeros(3), (2, 3))
for array in (np.zeros(10), np.zeros(100_000), np.zeros((2, 50_000), order="F"), shared,
              np.zeros((3, 4))[:, 1:3], np.zeros(2, "M8[ns]").astype(float)):
    array.setflags(write=False)
    sender.send(array)
print(Receiver(kid).recv())
"""
    assert program(text).startswith(
        "[((10,), 1.0, True), ((100000,), 1.0, True), ((2, 50000), 2.0, True), ((2, 3), 2.0, False)"
    )
