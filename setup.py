"""Compiles the modules that every message passes through, and the program that MPI starts for each slot, if
there is a C compiler; without one everything works, only more slowly.

mypyc translates the same sources to C, so nothing is written twice. `CMPI_PURE=1` skips that, and so does
an editable install, in which compiled modules would hide later edits.
"""

import os
import shutil
import sys
import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

COMPILED = [
    "cmpi/_core/channel/backoff.py",
    "cmpi/_core/channel/channel.py",
    "cmpi/_core/channel/contract.py",
    "cmpi/_transport/pickling.py",
    "cmpi/_transport/ring.py",
    "cmpi/_runtime/process/channel_ends.py",
    "cmpi/_runtime/process/ring_inbox.py",
    "cmpi/_runtime/process/connection.py",
    "cmpi/_runtime/process/replaceable_socket.py",
    "cmpi/_runtime/process/socket_inbox.py",
    "cmpi/_runtime/process/transport_reader.py",
    "cmpi/_runtime/process/fragments.py",
    "cmpi/_runtime/process/shared_payloads.py",
    "cmpi/_runtime/process/end_table.py",
    "cmpi/_runtime/process/peer.py",
]
STUB = "cmpi/_runtime/monitor/spawn_stub.c"
# Types are checked elsewhere, where the packages imported here are installed.
LAX = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]


def extensions() -> list[Extension]:
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if os.environ.get("CMPI_PURE", "0") not in ("", "0") or "editable_wheel" in sys.argv:
        return []
    if not shutil.which(compiler) or not os.path.exists(header):
        return []
    from mypyc.build import mypycify

    try:
        # With -O2 the compiler takes nearly twice as long, and messages are no faster.
        return mypycify([*LAX, *COMPILED], opt_level="1", debug_level="0")
    except (Exception, SystemExit) as error:  # for example a Python version that mypyc does not support yet
        print(f"cmpi will not be compiled: mypyc: {error}", file=sys.stderr)
        return []


class Build(build_ext):
    """Compiles everything or nothing: modules compiled in part could not be imported."""

    def run(self) -> None:
        program = os.path.join(self.build_lib, os.path.splitext(STUB)[0])
        try:
            super().run()
            if self.extensions:
                objects = self.compiler.compile([STUB], self.build_temp, extra_preargs=["-O2"])
                self.compiler.link_executable(objects, program)
        except Exception as error:
            print(f"cmpi will not be compiled: {error}", file=sys.stderr)
            for path in filter(os.path.exists, [*self.get_outputs(), program]):
                os.unlink(path)
            self.extensions = []


setup(ext_modules=extensions(), cmdclass={"build_ext": Build})
