"""Runs benchmarks: prints medians of interleaved runs of cmpi and of another tool, and their ratio."""

from __future__ import annotations

import argparse
import importlib
import json
import sys

from cmpi.bench.common import HEADINGS, Row, header

# Where each is; the order is that of the table.
HOMES = {
    "startup": "startup",
    "spawn": "spawn",
    "output": "output",
    "pingpong": "channels",
    "rate": "channels",
    "stream": "channels",
    "tensor": "channels",
    "dict": "channels",
    "wakeup": "channels",
    "blocked": "crowds",
    "alltoall": "crowds",
    "notice": "notice",
    "pool": "pool",
    "data": "data",
}
# Run by themselves, when asked for.
ALONE = "soak", "chaos", "interrupts", "limits", "scaling", "standing", "hosts"


def main() -> int:
    """Run benchmarks and print their table."""
    parser = argparse.ArgumentParser(prog="python -m cmpi.bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join(HOMES)}, {', '.join(ALONE[:-1])}, or {ALONE[-1]} (default: all but those)",
    )
    parser.add_argument("--runs", type=int, default=0, help="repetitions (default: the benchmark's own)")
    parser.add_argument("--json", action="store_true", help="an object for each row in place of the table")
    parser.add_argument("--plot", metavar="FILE.png", help="draw the ratios (needs matplotlib)")
    parser.add_argument("--seconds", type=float, default=600, help="how long to soak (default 600)")
    parser.add_argument(
        "--count",
        type=int,
        default=0,
        help="of interrupts of each kind (default 100,000), of the short processes of limits (10,000), or "
        "of the guests and of the deployments of standing (1,000)",
    )
    parser.add_argument(
        "--kinds", metavar="A,B", default="", help="of calls to be interrupted (default: all)"
    )
    parser.add_argument("--kills", type=int, default=1000, help="how many in chaos (default 1000)")
    parser.add_argument(
        "--workload", choices=["messages", "pool"], default="messages", help="of chaos (default messages)"
    )
    parser.add_argument("--no-shared-memory", action="store_true", help="chaos by sockets alone")
    parser.add_argument("--seed", type=int, default=1, help="of soak's and chaos's choices (default 1)")
    parser.add_argument("--hosts", metavar="A,B", default="", help="the two hosts of the benchmark hosts")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in (*HOMES, *ALONE)]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(HOMES)}, {', '.join(ALONE)}")
    if options.names == ["soak"]:
        from cmpi.bench.soak import soak

        return soak(options.seconds, options.seed)
    if options.names == ["interrupts"]:
        from cmpi.bench.soak import interrupts

        return interrupts([kind for kind in options.kinds.split(",") if kind], options.count or 100_000)
    if options.names == ["chaos"]:
        from cmpi.bench.soak import chaos

        without = ("--shared-memory", "0") if options.no_shared_memory else ()
        return chaos(options.workload, options.kills, options.seed, *without)
    if not options.json:
        print(header())
        print(HEADINGS)
    rows: list[Row] = []
    for name in options.names or HOMES:
        module = importlib.import_module(f"cmpi.bench.{HOMES.get(name, name)}")
        if name == "hosts" and options.hosts.count(",") != 1:
            parser.error("hosts needs two: --hosts node1,node2, of which the first is this one")
        how_many = options.count if name in ("limits", "standing") else options.runs
        for row in module.run(options.hosts if name == "hosts" else name, how_many):
            rows.append(row)
            line = json.dumps({**row.__dict__, "ratio": row.ratio}) if options.json else row.line()
            print(line, flush=True)
    if options.plot:
        from cmpi.bench.plot import draw

        draw(rows, header(), options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
