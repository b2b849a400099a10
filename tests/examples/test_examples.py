"""Runs each example by its one-line command, and checks its tree and output."""

import datetime
import importlib.util
import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.mpi import conftest

jobs = conftest.jobs
EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.mpi


class Shown:
    """A run's output: the lines of each process by its title, and how many processes were spawned."""

    def __init__(self, jobs, *command):
        result = jobs.run("cmpirun", *command, cwd=EXAMPLES)
        assert result.code == 0 and not result.err, result
        self.said, self.spawned = {}, 0
        for line in result.out.splitlines():
            title, mark, text = re.fullmatch(r"(.+?) +([│+]) (.*)", line).groups()
            if mark == "│":
                self.said.setdefault(title, []).append(text)
            else:
                spawned = re.findall(r"(?:(\d+) \w+|· [0-9a-f]{7})", text.partition(" (with")[0])
                self.spawned += sum(int(n or 1) for n in spawned)


def test_hello(jobs):
    shown = Shown(jobs, "-n", "4", "python", "hello.py")
    assert shown.said.pop("rank 0") == ["hello from rank 0 of 4", "the ranks add up to 6"]
    assert shown.said == {f"rank {r}": [f"hello from rank {r} of 4"] for r in range(1, 4)}


def test_ring(jobs):
    shown = Shown(jobs, "python", "ring.py", "4")
    assert shown.said.pop("rank 0") == ["the token came back as 4"] and shown.spawned == 4
    assert sorted(line for (line,) in shown.said.values()) == [f"token {i}" for i in range(4)]


@pytest.mark.parametrize(
    "command, spawned, said",
    [
        ("fibonacci.py 4", 8, ["fibonacci(4) = 3"]),
        ("fork_join.py 3", 3, ["3 processes found 499999500000"]),
        ("all_to_all.py 4", 4, ["12 messages among 4 processes"]),
        ("process_pool.py 3", 3, [f"squares: {[x * x for x in range(10)]}"]),
        ("async_fanin.py 3", 4, ["3 sensors, totals [30, 30, 30]", "one sensor says nothing"]),
        ("select_timeout.py 5", 2, ["5 jobs done: [10, 20, 30, 40, 50]", "nothing more in 0.1 s"]),
        ("stream_arrays.py 60", 4, ["60 frames came through, 60 of them right"]),
        ("heat.py 3", 3, ["3 strips, 200 steps: as in one piece: True"]),
    ],
)
def test_a_program_shows_its_result_and_how_many_it_spawned(jobs, command, spawned, said):
    shown = Shown(jobs, "python", *command.split())
    assert shown.said["rank 0"] == said and shown.spawned == spawned


def test_bank(jobs):
    result = jobs.run("cmpirun", "--output", "plain", "python", "bank.py", cwd=EXAMPLES)
    assert (result.code, result.err) == (0, ""), result
    assert result.out.splitlines() == [
        "the bank was robbed: 1",
        "['ada has 70', 'grace has 70']",
        "ada has 70 and cannot pay 1000",
    ]


def test_mandelbrot(jobs):
    path = jobs.folder / "picture.png"
    result = jobs.run("cmpirun", "--output", "plain", "python", EXAMPLES / "mandelbrot.py", "64", path)
    assert (result.code, result.out) == (0, f"{path}: 64 x 48, 20% of it inside\n"), result
    assert path.read_bytes().startswith(b"\x89PNG")


def test_map_files(jobs):
    result = jobs.run("cmpirun", "--output", "plain", "python", EXAMPLES / "map_files.py")
    lines = result.out.splitlines()
    assert (result.code, len(lines)) == (0, 10), result
    assert lines[3] == "part3: 10000 words, most often host", result
    assert "files" in result.err and "2000" in result.err


def test_wordcount(jobs):
    path = jobs.folder / "words.txt"
    path.write_text("to be or not\nto be or to sleep, perchance\n" * 50)
    result = jobs.run("cmpirun", "--output", "plain", "python", EXAMPLES / "wordcount.py", path)
    assert (result.code, result.err) == (0, ""), result
    found = [line.split() for line in result.out.splitlines()]
    assert found == [["150", "to"], ["100", "or"], ["100", "be"], ["50", "sleep"], ["50", "perchance"]]


@pytest.mark.slow
def test_crawl_links(jobs):
    """Without a file it reads an archive of its own; a link to a page's own host counts for nothing."""
    pytest.importorskip("fastwarc")

    def shown(*paths):
        result = jobs.run("cmpirun", "--output", "plain", "python", EXAMPLES / "crawl_links.py", *paths)
        assert (result.code, result.err) == (0, ""), result
        return result.out.splitlines()

    own = shown()
    assert own[:2] == ["300 pages", "    22 host4.example -> host0.example"] and len(own) == 6
    answer = b"""HTTP/1.1 200 OK\r\n\r\n<a href="b"><A class=x href='//b.org/1'><a href=http://b.org>"""
    head = "WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2024-01-02T03:04:05Z\r\n"
    head += "Content-Type: application/http\r\nWARC-Target-URI: http://a.org/x/\r\n"
    path = jobs.folder / "page.warc"
    path.write_bytes(f"{head}Content-Length: {len(answer)}\r\n\r\n".encode() + answer + b"\r\n\r\n")
    assert shown(path, path) == ["2 pages", "     2 a.org -> b.org"]


def test_taxi(jobs):
    """Without a file it makes trips up; without matplotlib the picture is an SVG."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (jobs.folder / "matplotlib.py").write_text("raise ImportError('as if it were not installed')")

    def shown(*paths, **kwargs):
        command = ("cmpirun", "--output", "plain", "python", EXAMPLES / "taxi.py", *paths)
        result = jobs.run(*command, cwd=jobs.folder, timeout=60, **kwargs)
        assert (result.code, result.err) == (0, ""), result
        return result.out.splitlines()

    *lines, picture = shown(env={"PYTHONPATH": str(jobs.folder)})
    assert lines[:2] == ["299411 trips", "Mon 18:00   3910 trips, 12.69 dollars each"] and len(lines) == 4
    svg = (jobs.folder / "taxi.svg").read_text()
    assert picture == "see taxi.svg" and svg.count("<rect") == 7 * 24
    assert "<title>Mon 18:00, 3910 trips</title>" in svg
    if importlib.util.find_spec("matplotlib"):
        times = [datetime.datetime(2024, 1, 2, 3, 30)] * 2
        trips = {"tpep_pickup_datetime": times, "trip_distance": [1.5, 0.0], "total_amount": [9.0, 1.0]}
        parquet.write_table(arrow.table(trips), jobs.folder / "trips.parquet")
        found = shown("trips.parquet")
        assert found == ["1 trips", "Tue  3:00      1 trips, 9.00 dollars each", "see taxi.png"]
        assert (jobs.folder / "taxi.png").read_bytes().startswith(b"\x89PNG")


def test_grid_search(jobs):
    pytest.importorskip("sklearn")
    result = jobs.run("cmpirun", "--output", "plain", "python", EXAMPLES / "grid_search.py", timeout=60)
    assert result.out.startswith("best: {'C': 10, 'gamma': 0.001}, accuracy 0.97"), result


def test_deploy(jobs):
    result = jobs.run("bash", EXAMPLES / "deploy.sh", cwd=EXAMPLES, timeout=60)
    assert result.code == 0, result
    lines = result.out.splitlines()
    assert sum("hello from rank" in line for line in lines) == 6, result
    assert sum("the ranks add up to 6" in line for line in lines) == 1
    assert sum("the ranks add up to 1" in line for line in lines) == 1
    assert "exit code 7" in result.out and "cmpirun: rank 0 failed: exit code 7" in result.err


@pytest.mark.parametrize("name", sorted(p.name for p in EXAMPLES.glob("*.py")))
def test_every_example_says_how_to_run_it_and_compiles(name):
    text = (EXAMPLES / name).read_text()
    assert re.search(rf"python {name}|uvicorn {name.removesuffix('.py')}:app", text.split('"""')[1])
    subprocess.run([sys.executable, "-m", "py_compile", EXAMPLES / name], check=True)


class WebService:
    """The example under uvicorn, at a port of its own."""

    def __init__(self, jobs):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        app = ("uvicorn", "web_service:app", "--app-dir", EXAMPLES, "--port", str(port))
        self.process = jobs.start("python", "-m", *app, "--no-access-log", cwd=EXAMPLES)
        self.said = ""
        while "running on" not in self.said:
            line = self.process.stderr.readline().decode()
            assert line, self.said
            self.said += line

    def get(self, path):
        with urllib.request.urlopen(f"{self.address}/{path}", timeout=60) as answer:
            return answer.read().decode()


def test_web_service(jobs):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    service = WebService(jobs)
    assert "started the job" in service.said
    answers = {
        "primes?below=1000": '{"below":1000,"primes":168}',
        "countdown?start=3": "3\n2\n1\nliftoff\n",
    }
    paths = ["primes?below=1000"] * 40 + ["countdown?start=3"] * 10
    with ThreadPoolExecutor(10) as clients:
        assert list(clients.map(service.get, paths)) == [answers[path] for path in paths]
    with pytest.raises(urllib.error.HTTPError, match="422"):
        service.get("primes?below=-1")
    service.process.send_signal(signal.SIGINT)
    _, err = service.process.communicate(timeout=60)
    assert service.process.returncode == 0 and b"shutdown complete" in err, err


def test_a_web_service_that_is_killed_leaves_nothing_behind(jobs):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    service = WebService(jobs)
    assert service.get("primes?below=10") == '{"below":10,"primes":4}'
    service.process.kill()
    service.process.wait()


EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=60, coalesce_streams=True).execute()
nbformat.write(notebook, sys.argv[2])
"""


def shown_by_cells(notebook):
    """The lines below each cell; ranks print in any order, and each job has a name of its own."""
    cells = json.loads(notebook.read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = ["".join(it.get("text") or it["data"]["text/plain"]) for it in outputs]
    return [sorted(re.sub("cmpi-[0-9a-f]{12}", "cmpi-", text).splitlines()) for text in texts]


def test_notebook(jobs):
    """Its cells show what they showed when it was written."""
    pytest.importorskip("nbclient")
    notebook, executed = EXAMPLES / "notebook.ipynb", jobs.folder / "executed.ipynb"
    result = jobs.run("python", jobs.script(EXECUTE), notebook, executed, timeout=90)
    assert result.code == 0, result
    assert shown_by_cells(executed) == shown_by_cells(notebook)
    assert len(shown_by_cells(executed)) == 6
