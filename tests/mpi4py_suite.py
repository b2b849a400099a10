"""mpi4py's own test suite under mpiexec and under cmpirun: the same verdicts, test by test, rank by rank.

    python tests/mpi4py_suite.py FOLDER [-n 4] [-e MODULE ...]

FOLDER is where mpi4py's source distribution was unpacked. Each rank writes its verdicts to its own file,
because both launchers mix the lines of ranks. Exit code 0: no difference.
"""

import argparse
import collections
import os
import pathlib
import re
import runpy
import subprocess
import sys
import tempfile
import time

BIN = os.path.dirname(sys.executable)


def child(folder: str, main: str, arguments: list[str]) -> None:
    """Run the suite in one rank, with its report in a file of its own."""
    rank = os.environ.get("PMIX_RANK", os.environ.get("PMI_RANK", "0"))
    sys.argv = [main, "--verbose", *arguments]
    sys.path.insert(0, str(pathlib.Path(main).parent))
    with open(f"{folder}/{rank}", "w", buffering=1) as sys.stderr:
        runpy.run_path(main, run_name="__main__")


def verdicts(folder: str) -> dict[tuple[str, str], collections.Counter]:
    """The verdicts by rank and test. A test that is counted twice has subtests."""
    found: dict[tuple[str, str], collections.Counter] = collections.defaultdict(collections.Counter)
    for path in sorted(pathlib.Path(folder).iterdir()):
        name = ""
        for line in path.read_text().splitlines():
            if match := re.match(r"^(test\w* \([\w.]+\))", line):
                name = match[1]
            for verdict in re.findall(r"\.\.\. (ok|FAIL|ERROR|skipped|expected failure)", line):
                found[path.name, name][verdict] += 1
    return found


def run(launcher: list[str], suite: str, arguments: list[str], limit_s: float):
    """The verdicts under this launcher."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [*launcher, sys.executable, __file__, "--child", folder, suite, *arguments]
        started = time.monotonic()
        job = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            how = f"exit code {job.wait(limit_s)}"
        except subprocess.TimeoutExpired:
            how = "HUNG"
            job.terminate()  # in an orderly way, so that it ends its ranks
            try:
                job.wait(15)
            except subprocess.TimeoutExpired:
                job.kill()
                job.wait()
        found = verdicts(folder)
    total = sum((counter for counter in found.values()), collections.Counter())
    print(
        f"{os.path.basename(launcher[0]):>8}: {dict(total)}, {how}, {time.monotonic() - started:.0f} s",
        flush=True,
    )
    return found, how


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], sys.argv[4:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("-n", type=int, default=4)
    parser.add_argument("-e", "--exclude", action="append", default=[])
    parser.add_argument("-i", "--include", action="append", default=[])
    parser.add_argument("--limit", type=float, default=300, help="longest run, in seconds")
    options = parser.parse_args()
    suite = str(pathlib.Path(options.folder, "test", "main.py").resolve())
    plain = [f"{BIN}/mpiexec", "-n", str(options.n)]
    version = subprocess.run([plain[0], "--version"], stdout=subprocess.PIPE, text=True).stdout
    if "Open MPI" in version:
        plain[1:1] = [
            "--oversubscribe",
            "--mca",
            "btl",
            "^ofi",
            *["--allow-run-as-root"][: os.getuid() == 0],
        ]
    arguments = [word for name in options.exclude for word in ("-e", name)]
    arguments += [word for name in options.include for word in ("-i", name)]
    print(f"mpi4py's suite, {options.n} ranks, {version.strip().splitlines()[0]}", flush=True)
    expected, how_plain = run(plain, suite, arguments, options.limit)
    found, how_ours = run([f"{BIN}/cmpirun", "-n", str(options.n)], suite, arguments, options.limit)
    different = [key for key in sorted({*expected, *found}) if expected.get(key) != found.get(key)]
    for rank, test in different[:50]:
        print(
            f"rank {rank}: {test}: mpiexec {dict(expected[rank, test])}, cmpirun {dict(found[rank, test])}"
        )
    print(f"{len(expected)} verdicts compared, {len(different)} differ")
    return 1 if different or not expected or how_plain != how_ours else 0


if __name__ == "__main__":
    sys.exit(main())
