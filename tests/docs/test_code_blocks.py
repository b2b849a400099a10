"""Runs every code block of the documentation; `blocks.py` explains how pages are written."""

import ast
import html
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

import pytest

import cmpi
from cmpi.launcher.cli import parse
from tests.docs.blocks import ROOT, Block, blocks, pages
from tests.docs.consoles import differences, run, set_up
from tests.mpi import conftest

jobs = conftest.jobs
PAGES = pages()
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
BLOCKS = [block for page in PAGES for block in blocks(page)]
RUNNING = [page for page in PAGES if any(block.runs for block in BLOCKS if block.page == page)]
REMEDY = "If the output is right, this writes it into the page: python -m tests.docs.consoles PAGE"
TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def places(chosen):
    return {"argvalues": chosen, "ids": [block.place for block in chosen]}


@pytest.fixture
def short_folder():
    """A folder with a short name, because reports shorten long paths."""
    with tempfile.TemporaryDirectory() as folder:
        yield pathlib.Path(folder)


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", RUNNING, ids=[str(page.relative_to(ROOT)) for page in RUNNING])
def test_programs_run_and_consoles_show_their_real_output(jobs, short_folder, page):
    folder = short_folder
    set_up(folder, page)
    all_blocks = blocks(page)
    consoles = [block for block in all_blocks if block.language == "console"]
    for block in all_blocks:
        if block.language == "console" and block.runs:
            ran = run(block, lambda argv: jobs.run(*argv, cwd=folder, timeout=100).out, folder)
            assert not differences(ran), f"{block.place}: {differences(ran)}\n{REMEDY}"
        if block.language == "python" and block.runs:
            name = block.file or "program.py"
            if not any(name in console.text for console in consoles):
                (folder / name).write_text(block.text + "\n")
                result = jobs.run("cmpirun", "python", name, cwd=folder)
                assert result.code == 0, f"{block.place}: {result}"


@pytest.mark.parametrize("block", **places([b for b in BLOCKS if b.language == "python"]))
def test_python_blocks_compile_and_use_existing_names(block: Block):
    tree = compile(block.text, block.place, "exec", ast.PyCF_ONLY_AST | TOP_LEVEL_AWAIT)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "cmpi":
            for alias in node.names:
                assert hasattr(cmpi, alias.name), f"{block.place}: cmpi has no {alias.name}"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "cmpi":
            assert hasattr(cmpi, node.attr), f"{block.place}: cmpi has no {node.attr}"


@pytest.mark.parametrize("block", **places([b for b in BLOCKS if b.language == "console" and b.needs]))
def test_commands_for_other_machines_use_options_that_cmpirun_knows(block, monkeypatch):
    monkeypatch.chdir(ROOT)
    for command, _ in block.commands():
        subprocess.run(["bash", "-n", "-c", command], check=True)
        if command.startswith("cmpirun "):
            parse(shlex.split(command, comments=True)[1:])


@pytest.mark.parametrize("block", **places([b for b in BLOCKS if b.language in ("bash", "sh")]))
def test_shell_scripts_are_correct(block):
    subprocess.run(["bash", "-n", "-c", block.text], check=True)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_point_to_files_of_the_repository(page):
    text = re.sub(r"```.*?\n```|`[^`\n]*`", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            assert os.path.exists(page.parent / target), f"{page}: {target}"


def test_every_public_name_is_in_the_reference():
    reference = "".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))
    listed = set(re.findall(r"^\.\. auto\w+:: cmpi\.(\w+)$", reference, re.M))
    missing = sorted(set(cmpi.__all__) - listed)
    assert not missing, (
        f"add `.. autofunction:: cmpi.NAME` (or autoclass) to a page of docs/reference: {missing}"
    )


def test_the_readme_is_short_and_has_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 900
    commands = re.findall(r"^    (python3 -m venv .*)$", text, re.M)
    assert len(commands) == 2 and "pytest" in commands[1]


@pytest.mark.mpi
@pytest.mark.slow
def test_the_picture_shows_the_readmes_program(jobs, tmp_path):
    set_up(tmp_path, ROOT / "README.md")
    result = jobs.run("cmpirun", "-n", "2", "--output", "plain", "python", "roots.py", cwd=tmp_path)
    assert result.code == 0
    picture = html.unescape((ROOT / "docs/_static/run.svg").read_text()).replace("\xa0", " ")
    for line in (*result.out.splitlines(), "ValueError: math domain error"):
        assert line in picture, "draw it again: python docs/picture.py"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_named_on_a_page_exist(page):
    for name in re.findall(r"`((?:cmpi|launcher|tests|docs)/[\w./]*)`", page.read_text()):
        assert (ROOT / name).exists(), f"{page}: {name}"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("furo", reason="NOT TESTED: the documentation's tools are not here (cmpi[docs])")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", tmp_path]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
