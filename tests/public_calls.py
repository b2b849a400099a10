"""Every public call of cmpi, listed by machine: a test of all of them fails when one is added elsewhere."""

import functools
import inspect

import cmpi

ITERATION = ("__iter__", "__aiter__")

# Classes without calls that use the job.
VALUES = {
    "Capacity", "Child", "ChildInfo", "ExitStatus", "Exited", "Failure", "Pid", "PoolStatistics",
    "Resources", "Selected", "Shape", "Statistics",
}  # fmt: skip
CREATED_BY_OTHERS = {
    "AnyReceiver",
    "Broadcast",
    "Call",
    "NamedSender",
    "Notices",
    "PoolFuture",
    "TaskOptions",
}


def calls():
    """The names of all calls: functions ("spawn"), constructors ("Sender"), methods ("Sender.send")."""
    found = []
    for name in cmpi.__all__:
        public = getattr(cmpi, name)
        if not inspect.isclass(public):
            found.append(name)
        elif name not in VALUES and not issubclass(public, BaseException):
            if name not in CREATED_BY_OTHERS:
                found.append(name)
            found += [f"{name}.{method}" for method in methods(public)]
    return found


def methods(public):
    """The public methods and properties of a class, and its iterators."""
    found = []
    for name in dir(public):
        ours = any(name in vars(c) and c.__module__.startswith("cmpi") for c in public.__mro__)
        if ours and (not name.startswith("_") or name in ITERATION):
            found.append(name)
    return found


@functools.cache
def code_of(name):
    """The code object that runs when this call is made."""
    owner, _, method = name.partition(".")
    public = getattr(cmpi, owner)
    if inspect.isclass(public):
        public = inspect.getattr_static(public, method or "__init__")
    if isinstance(public, property):
        public = public.fget
    return inspect.unwrap(getattr(public, "__func__", public)).__code__
