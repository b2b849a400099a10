"""Runs what the documentation shows about several hosts and Slurm, with the names of the test's own
hosts."""

import re

import pytest

from tests.docs.blocks import blocks, pages
from tests.docs.consoles import differences, run, set_up


def places(needs):
    found = [block for page in pages() for block in blocks(page) if block.needs == needs]
    return pytest.mark.parametrize("block", found, ids=[block.place for block in found])


def of_test_hosts(text):
    return re.sub(r"\bnode(\d)\b", r"h\1", text)


@places("hosts")
def test_documented_consoles_on_several_hosts_show_real_output(on_hosts, jobs, block):
    set_up(jobs.folder, block.page)

    def call(argv):
        command = on_hosts.hosts.command("h1", *argv, cwd=jobs.folder)
        return jobs.run(*command, timeout=100).out

    ran = run(block, call, jobs.folder, of_test_hosts)
    assert not differences(ran), f"{block.place}: {differences(ran)}"


@places("slurm")
def test_documented_consoles_with_slurm_show_real_output(slurm, jobs, block):
    set_up(jobs.folder, block.page)
    ran = run(block, lambda argv: jobs.run(*argv, cwd=jobs.folder, timeout=100).out, jobs.folder)
    assert not differences(ran), f"{block.place}: {differences(ran)}"
