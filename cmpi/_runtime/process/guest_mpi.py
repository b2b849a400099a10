"""In a guest, MPI is loaded with cmpi, but starts when the program imports `mpi4py.MPI`, as it would
without cmpi.

A guest belongs to no MPI world of the job. Its program may use MPI on its own, as a world of one process.
"""

from __future__ import annotations

import atexit
import sys

import mpi4py

from cmpi._runtime.linux import leftovers
from cmpi._runtime.process.lazy_mpi import NAME, ModuleFinder
from cmpi._transport import mpi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


class _GuestMpi(ModuleFinder):
    """A finder that starts MPI when the module is imported."""

    def exec_module(self, module: ModuleType) -> None:
        """The loader's method. Blocks: for MPI_Init. Raises: mpi4py.MPI.Exception: MPI cannot be
        started."""
        super().exec_module(module)
        sys.meta_path.remove(self)
        if not mpi4py.rc.initialize:
            return
        mpi.start_as_mpi4py_does()
        leftovers.unlink_segments_of_one_alone()
        atexit.register(leftovers.remove_session_folders)  # after MPI_Finalize, which leaves an empty one
        if mpi4py.rc.finalize is not False:
            atexit.register(mpi.finalize)


def hide() -> None:
    """Have MPI start when the program imports it; do nothing if the program has imported it, or this was
    called before."""
    if mpi.rc_before is None or NAME not in sys.modules or mpi.runs():
        return
    module = sys.modules.pop(NAME)
    del mpi4py.MPI
    mpi4py.rc.initialize, mpi4py.rc.finalize = mpi.rc_before
    sys.meta_path.insert(0, _GuestMpi(module, module.__spec__))
