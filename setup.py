"""Compiles the way of a message, where there is a C compiler; without one all runs as it is, only slower.

mypyc makes C of the same sources, so nothing is written twice. `CMPI_PURE=1` leaves it out, and so does an
editable install: what is compiled there would hide later edits.
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
    "cmpi/_runtime/process/socket_inbox.py",
    "cmpi/_runtime/process/fragments.py",
    "cmpi/_runtime/process/shared_payloads.py",
    "cmpi/_runtime/process/peer.py",
]
# The types are checked elsewhere, with the packages that this imports at hand.
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
        return mypycify([*LAX, *COMPILED], opt_level="2", debug_level="0")
    except (Exception, SystemExit) as error:  # a Python that it does not know yet
        print(f"cmpi will not be compiled: mypyc: {error}", file=sys.stderr)
        return []


class Build(build_ext):
    """Compiles all or nothing: a part of it could not be imported."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            print(f"cmpi will not be compiled: {error}", file=sys.stderr)
            for path in filter(os.path.exists, self.get_outputs()):
                os.unlink(path)
            self.extensions = []


setup(ext_modules=extensions(), cmdclass={"build_ext": Build})
