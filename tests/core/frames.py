"""All frames that exist, and some as a process would send them."""

import importlib
import pkgutil

from cmpi._core import protocol
from cmpi._core.protocol import process_root

MODULES = [
    importlib.import_module(f"{protocol.__name__}.{it.name}")
    for it in pkgutil.iter_modules(protocol.__path__)
]
REGISTRIES = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, dict) and all(hasattr(it, "LAYOUT") for it in value.values())
}
ALL = {number: cls for registry in REGISTRIES.values() for number, cls in registry.items()}


def spawn_frame(request=1, cpu_units=0, memory_bytes=0, **changes):
    """A request to spawn, for tests that need only some of its fields."""
    fields = {"label": "f", "closure": b"f", "context": b"ctx"} | changes
    return process_root.Spawn(request=request, cpu_units=cpu_units, memory_bytes=memory_bytes, **fields)
