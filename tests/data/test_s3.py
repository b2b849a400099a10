"""Streams from and to S3, on a real server on this host (moto)."""

import os
import urllib.request

import pytest

from cmpi import data
from cmpi.errors import UsageError

moto = pytest.importorskip("moto.server")
fsspec = pytest.importorskip("fsspec")
s3fs = pytest.importorskip("s3fs")
pa = pytest.importorskip("pyarrow")
here = data.Serial()


@pytest.fixture
def bucket(monkeypatch):
    """A bucket on a server that listens only on this host, and its s3fs file system for the tests."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys = {"ACCESS_KEY_ID": "testing", "SECRET_ACCESS_KEY": "testing", "DEFAULT_REGION": "us-east-1"}
        for name, value in keys.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        files = s3fs.S3FileSystem()
        urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", b"").close()
        files.mkdir("lake")
        yield files
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()


def test_text_and_csv_are_read_and_written(bucket):
    lines = "".join(f"{i},w{i % 3}\n" for i in range(500))
    for i in range(3):
        bucket.pipe(f"lake/logs/{i}.csv", f"n,word\n{lines}".encode())
    options = {"types": {"n": int}, "quoted_newlines": False, "split_bytes": 1024}
    stream = data.csv("s3://lake/logs/*.csv", pool=here, **options)
    sums = {f"w{i}": 3 * sum(range(i, 500, 3)) for i in range(3)}
    assert stream.group_by("word", into=data.sum("n")).collect(dict) == sums
    manifest = stream.filter(lambda row: row.n < 10).write_csv("s3://lake/out")
    assert manifest.rows == 30
    names = sorted(each.rpartition("/")[2] for each in bucket.ls("lake/out", refresh=True))
    assert names == ["_manifest.json", *(each.name for each in manifest.files)]
    assert data.csv("s3://lake/out/*.csv", pool=here).count() == 30
    with pytest.raises(UsageError, match="must be empty"):
        stream.write_csv("s3://lake/out")
    assert stream.take(1).write_csv("s3://lake/out", overwrite=True).rows == 1
    assert data.csv("s3://lake/out/*.csv", pool=here).collect() == [("0", "w0")]


def test_parquet_is_read_by_columns_and_written(bucket):
    rows = [{"user": f"u{i % 5}", "ms": i} for i in range(1000)]
    stream = data.of(rows, pool=here)
    assert stream.write_parquet("s3://lake/events", rows_per_file=100).rows == 1000
    events = data.parquet("s3://lake/events/*.parquet", pool=here)
    groups = events.filter(data.col("ms") < 100).group_by("user", into=data.count())
    assert groups.collect(dict) == {f"u{i}": 20 for i in range(5)}
    assert events.sum("ms") == sum(range(1000))


def test_partitions_are_written_and_read(bucket):
    rows = [{"user": f"u{i % 3}", "ms": i} for i in range(100)]
    manifest = data.of(rows, pool=here).write_parquet("s3://lake/parts", partition_by="user")
    assert manifest.files[0].name.startswith("user=u")
    assert not bucket.glob("lake/parts/.cmpi*")
    parts = data.parquet("s3://lake/parts", pool=here)
    assert parts.filter(data.col("user") == "u1").sum("ms") == sum(range(1, 100, 3))
    assert data.parquet("s3://lake/parts/user=u[01]", pool=here).count() == 67
    assert parts.group_by("user", into=data.count()).collect(dict) == {"u0": 34, "u1": 33, "u2": 33}


def test_a_failed_stream_leaves_no_objects(bucket):
    with pytest.raises(data.BadRow):
        data.of(range(100), pool=here).map(lambda x: {"x": 1 // (x - 70)}).write_parquet("s3://lake/broken")
    assert not bucket.find("lake/broken")


def test_a_missing_object_is_named(bucket):
    with pytest.raises(FileNotFoundError, match="s3://lake/nothing"):
        data.text("s3://lake/nothing*", pool=here).count()
    assert os.environ["AWS_ENDPOINT_URL"]
