"""Files behind HTTP, read by fsspec."""

import functools
import gzip
import http.server
import threading

import numpy as np
import pytest

from cmpi import data

pytest.importorskip("aiohttp")
pytest.importorskip("fsspec")
here = data.Serial()


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and parts of its files."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if not first:
            super().do_GET()
            return
        with open(self.translate_path(self.path), "rb") as file:
            content = file.read()
        part = content[int(first) : int(last or len(content)) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@pytest.fixture
def address(tmp_path):
    """The address of a server for the test's folder."""
    serve = functools.partial(Ranges, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_all_kinds_of_files_are_read_from_a_web_server(tmp_path, address):
    text = "".join(f"{i}\n" for i in range(5000))
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "c.csv").write_text("x,y\n" + text.replace("\n", ",1\n"))
    np.save(tmp_path / "d.npy", np.arange(5000))
    files = [f"{address}/a.txt", f"{address}/b.txt.gz"]
    assert data.text(files, split_bytes=2000, pool=here).map(int).collect() == [*range(5000)] * 2
    assert data.csv(f"{address}/c.csv", types={"x": int}, pool=here).sum("x") == sum(range(5000))
    assert data.npy(f"{address}/d.npy", split_bytes=2000, pool=here).collect() == [*range(5000)]
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"x": range(5000)}), tmp_path / "e.parquet", row_group_size=500)
    assert data.parquet(f"{address}/e.parquet", split_bytes=2000, pool=here).sum("x") == sum(range(5000))


def test_missing_and_truncated_files_are_named(tmp_path, address):
    with pytest.raises(FileNotFoundError, match=r"no file matches 'http://127\.0\.0\.1:\d+/none\.csv'"):
        data.csv(f"{address}/none.csv", pool=here).count()
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(bytes(5000))[:-9])
    message = r"http://127\S*/b\.txt\.gz cannot be read: .* bytes of content"
    with pytest.raises(data.UnreadableFile, match=message):
        data.text(f"{address}/b.txt.gz", pool=here).count()
