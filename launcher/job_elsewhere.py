"""The options of a cmpirun that works on another machine: HOST:NAME in --in, --attach and --stop, HOST
in --jobs. Pure."""

from __future__ import annotations

import argparse

from cmpi._runtime.linux.job_folders import machine_and_name

_NAMES = ("--in", "--attach", "--stop")
_JOBS = "--jobs"
_OF_HERE = ("--ship", "--ssh", "--ssh-timeout")  # are about the way there


def options_there(arguments: list[str]) -> list[str]:
    """The options of the cmpirun there.

    >>> options_there(["-n", "2", "--in", "h2:lab", "--ssh=ssh -p 2222", "--cpus", "1"])
    ['--in', 'lab', '--via', 'h2:', '-n', '2', '--cpus', '1']
    >>> options_there(["--jobs", "h2"])
    ['--jobs']
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in (*_NAMES, *_OF_HERE, _JOBS):
        parser.add_argument(option, dest=option)
    found, others = parser.parse_known_args(arguments)
    given = vars(found)
    if given[_JOBS]:
        return [_JOBS, *others]
    (option,) = (name for name in _NAMES if given[name])
    host, there = machine_and_name(given[option])
    return [option, there, "--via", f"{host}:", *others]
