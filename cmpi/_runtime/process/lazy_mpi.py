"""MPI starts in a spawned process when the program imports `mpi4py.MPI`, not before.

A spawned process sends and receives without MPI, and starting MPI takes longer than all its other steps.
The fork server has loaded the module `mpi4py.MPI` and the MPI library. This module removes the name from
`sys.modules`, and installs a finder before all others, which starts MPI and restores the name when it is
imported. The program sees no difference, whether it imports the module itself, through a library, or by
unpickling an object.

Until then the variables by which MPI's launcher tells the process its rank are not in the environment, so a
program that this process starts, and that uses MPI itself, is not part of that world.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import Loader
from importlib.machinery import ModuleSpec

import mpi4py

from cmpi._runtime import environment
from cmpi._runtime.linux import descendants
from cmpi._runtime.mpi_state import MpiState
from cmpi._transport import mpi

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence
    from types import ModuleType

NAME = "mpi4py.MPI"


class ModuleFinder(Loader):
    """A finder for `sys.meta_path`, and the loader: gives the name to the module that is loaded already."""

    def __init__(self, module: ModuleType, spec: ModuleSpec | None) -> None:
        self.module, self.spec = module, spec

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As of `sys.meta_path`."""
        return ModuleSpec(name, self) if name == NAME else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """As of a loader."""
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """As of a loader."""
        module.__spec__ = self.spec


class HiddenMpi(ModuleFinder):
    """In the fork server: the module is loaded, and its name is not to be found, but by who asks for it.

    `found` is true once a module has asked for it.
    """

    def __init__(self) -> None:
        module = sys.modules.pop(NAME)
        super().__init__(module, module.__spec__)
        self.found = False
        del mpi4py.MPI
        sys.meta_path.insert(0, self)

    def show(self) -> None:
        """Have the name back, as if nothing had been."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        sys.modules[NAME] = mpi4py.MPI = self.module

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As of `sys.meta_path`."""
        self.found |= name == NAME
        return super().find_spec(name, path, target)


class LazyMpi(ModuleFinder):
    """In a spawned process: the finder that starts MPI.

    Args:
        hidden: What the fork server has made of the module.
        state: Where to tell the monitor of it.
        leash: A socket to the stub, which must live while MPI starts.
    """

    def __init__(self, hidden: HiddenMpi, state: MpiState, leash: _socket.socket) -> None:
        super().__init__(hidden.module, hidden.spec)
        self._state, self._leash = state, leash
        self._owner = os.getpid()
        self._identity = {
            name: os.environ.pop(name)
            for name in list(os.environ)
            if name.startswith(environment.OF_MPI) and not name.startswith(environment.SETTINGS_OF_MPI)
        }
        # Called in the importing thread, when MPI runs; true: cmpi is to end it.
        self.started: Callable[[bool], None] = lambda _: None
        mpi4py.rc.initialize, mpi4py.rc.finalize = True, None
        sys.meta_path[sys.meta_path.index(hidden)] = self

    @property
    def untouched(self) -> bool:
        """Whether nobody has asked for MPI."""
        return self._state.value == MpiState.UNTOUCHED

    def exec_module(self, module: ModuleType) -> None:
        """As of a loader: start MPI, unless `mpi4py.rc.initialize` says that the program does.

        Blocks: for MPI_Init. Raises: mpi4py.MPI.Exception: MPI cannot be started.
        """
        try:
            self._start()
        finally:
            # Until now its spec says that it is being imported, so other threads that import it wait.
            super().exec_module(module)

    def _start(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        if os.getpid() != self._owner:
            return  # a process that the program has forked is none of MPI's
        os.environ.update(self._identity)
        if "PMI_FD" in self._identity:
            os.set_inheritable(int(self._identity["PMI_FD"]), True)
        self._state.value = MpiState.STARTING
        descendants.die_with_parent(False)  # a death in MPI_Init may harm MPI's launcher
        try:
            if mpi4py.rc.initialize:
                mpi.start_as_mpi4py_does()
                self.started(mpi4py.rc.finalize is not False)
        finally:
            self._state.value = MpiState.STARTED
            descendants.die_with_parent()
            self._leash.close()
