"""MPI starts in a spawned process when the program imports `mpi4py.MPI`, not before.

A spawned process can send and receive without MPI, and starting MPI takes longer than everything else in
its start. The fork server has loaded the module `mpi4py.MPI` and the MPI library. This module removes the
name from `sys.modules`, and installs a finder before all others, which starts MPI and restores the name
when it is imported. The program sees no difference, whether it imports the module itself, through a
library, or by unpickling an object.

Until then, the variables from which MPI reads the process's rank are not in the environment, so an MPI
program that this process starts is not taken for part of that world.
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
    """A finder for `sys.meta_path`, and the loader: binds the name to the module that is already loaded."""

    def __init__(self, module: ModuleType, spec: ModuleSpec | None) -> None:
        self.module, self.spec = module, spec

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The finder's method."""
        return ModuleSpec(name, self) if name == NAME else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The loader's method."""
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """The loader's method."""
        module.__spec__ = self.spec


class HiddenMpi(ModuleFinder):
    """In the fork server: hides the loaded module's name, but restores it if a module imports it.

    `found` is true once a module has imported it.
    """

    def __init__(self) -> None:
        module = sys.modules.pop(NAME)
        super().__init__(module, module.__spec__)
        self.found = False
        del mpi4py.MPI
        sys.meta_path.insert(0, self)

    def show(self) -> None:
        """Restore the name, as if it had never been hidden."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        sys.modules[NAME] = mpi4py.MPI = self.module

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The finder's method."""
        self.found |= name == NAME
        return super().find_spec(name, path, target)


class LazyMpi(ModuleFinder):
    """In a spawned process: the finder that starts MPI.

    Args:
        hidden: The module as the fork server has hidden it.
        state: Shows the monitor that MPI is started.
        leash: A socket to the stub, which must stay alive while MPI starts.
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
        # Called in the importing thread once MPI runs; True: cmpi must finalize it.
        self.started: Callable[[bool], None] = lambda _: None
        mpi4py.rc.initialize, mpi4py.rc.finalize = True, None
        sys.meta_path[sys.meta_path.index(hidden)] = self

    @property
    def untouched(self) -> bool:
        """Whether nothing has imported MPI."""
        return self._state.value == MpiState.UNTOUCHED

    def exec_module(self, module: ModuleType) -> None:
        """The loader's method: start MPI, unless `mpi4py.rc.initialize` leaves that to the program.

        Blocks: for MPI_Init. Raises: mpi4py.MPI.Exception: MPI cannot be started.
        """
        try:
            self._start()
        finally:
            # Its spec marks it as being imported, so other threads that import it wait.
            super().exec_module(module)

    def _start(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        if os.getpid() != self._owner:
            return  # a process that the program has forked is not part of MPI
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
