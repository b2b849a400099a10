"""WARC files and CloudFront logs: whole, cut off at every byte, empty, and with records that are wrong."""

import gzip
from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmpi import data
from cmpi.data.sources.reading import Reading
from cmpi.data.sources.warc_files import WarcFile
from cmpi.errors import UsageError

here = data.Serial()
DATE = "2024-01-02T03:04:05Z"


def record(
    kind="response", url="http://a.org/", body=b"hello", date=DATE, http="HTTP/1.1 200 OK", extra=""
):
    """The bytes of a record; with `http`, the start line of a message, its body is an HTTP message."""
    if http:
        body = f"{http}\r\nContent-Type: text/html\r\nX-Tag: b\r\nX-tag: c\r\n\r\n".encode() + body
        extra += "Content-Type: application/http\r\n"
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Date: {date}\r\nWARC-Target-URI: {url}\r\n{extra}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n"


INFO = record("warcinfo", "", b"software: x", http="")
WHOLE = [
    INFO,
    record(extra="WARC-IP-Address: 10.0.0.1\r\n"),
    record("request", http="GET / HTTP/1.1"),
    record("conversion", "<http://b.org/é>", "café".encode(), http=""),
    record(
        url="http://c.org/", body=b"\r\n\r\nWARC/1.0\r\nWARC-Type: response\r\n\r\n", http="HTTP/1.0 404 No"
    ),
]


def read(path, **options):
    return data.warc(path, pool=here, **options)


@pytest.fixture
def write(tmp_path):
    pytest.importorskip("fastwarc")

    def write(name, content):
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz", "whole.warc.gz"])
def test_records_have_url_date_status_headers_and_body(write, name):
    content = {"a.warc": b"".join(WHOLE), "a.warc.gz": b"".join(map(gzip.compress, WHOLE))}
    path = write(name, content.get(name) or gzip.compress(b"".join(WHOLE)))
    page, text, missing = read(path).collect()
    assert page == data.WebRecord(
        "response",
        "http://a.org/",
        datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "10.0.0.1",
        200,
        page.headers,
        b"hello",
        page.warc,
    )
    assert page.headers["content-type"] == "text/html"
    assert page.headers["x-tag"].replace(" ", "") == "b,c"
    assert page.warc["warc-ip-address"] == "10.0.0.1"
    assert (text.url, text.status, text.headers) == ("http://b.org/é", None, {})
    assert text.body.decode() == "café" and text.ip is None
    assert (missing.status, len(missing.body)) == (404, 37)
    every = read(path, types=None)
    assert every.map(lambda row: row.type).collect() == [
        "warcinfo",
        "response",
        "request",
        "conversion",
        "response",
    ]
    assert read(path, types=["request"]).count() == 1
    assert every.explain().startswith(f"warc {path}\n")
    assert read(path).select("url", "status").collect()[2] == ("http://c.org/", 404)


def test_empty_warc_files_are_read_and_missing_ones_are_an_error(write, tmp_path):
    for name, content in (("a.warc", b""), ("b.warc.gz", gzip.compress(b"")), ("c.warc", INFO + WHOLE[1])):
        write(name, content)
    assert read(tmp_path / "*.warc*").map(lambda row: row.url).collect() == ["http://a.org/"]
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing").count()
    with pytest.raises(UsageError, match=r"Pass \['response'\]"):
        read(tmp_path, types="response")


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_cut_off_at_any_byte_gives_an_error_or_whole_records(write, packed):
    members = list(map(gzip.compress, WHOLE)) if packed else WHOLE
    content, whole = b"".join(members), read(write("whole.warc", b"".join(WHOLE)), types=None).collect()
    ends = {0}
    for member in members:
        ends.add(max(ends) + len(member))
    if not packed:
        ends |= {end - n for end in ends - {0} for n in range(1, 5)}  # only empty lines are missing
    name = "cut.warc.gz" if packed else "cut.warc"
    for cut in range(0, len(content), 3 if packed else 1):
        rows = WarcFile(write(name, content[:cut]), None, cut).rows(Reading("skip"))
        if cut in ends:
            found = list(rows)
            assert found == whole[: len(found)], cut
        else:
            with pytest.raises(data.UnreadableFile, match=f"{name} cannot be read: .*(truncated|damaged)"):
                list(rows)


@pytest.mark.parametrize("content", [b"plain text\n" * 20, WHOLE[1] + b"rubbish " * 30 + WHOLE[1]])
def test_a_file_that_is_not_warc_is_refused(write, content):
    for name, packed in (
        ("a.warc", content),
        ("a.warc.gz", gzip.compress(content)),
        ("b.warc.gz", content),
    ):
        with pytest.raises(data.UnreadableFile, match=f"{name} cannot be read"):
            read(write(name, packed)).options(on_error="skip").count()


def test_a_record_without_type_or_date_is_a_bad_row(write):
    no_type = WHOLE[1].replace(b"WARC-Type: response\r\n", b"")
    path = write("a.warc", WHOLE[0] + record(date="yesterday") + no_type + WHOLE[1])
    with pytest.raises(data.BadRow, match=r"a\.warc, line 2: no WARC record: its WARC-Date .*'yesterday'"):
        read(path).count()
    rows, errors = read(path).options(on_error="collect").count()
    assert rows == 1 and [error.line for error in errors] == [2, 3]
    assert errors[1].reason == "no WARC record: it has no WARC-Type"
    with pytest.raises(data.BadRow, match=r"a\.warc, line 4: ZeroDivisionError"):
        read(write("a.warc", INFO * 3 + WHOLE[1])).map(lambda row: 1 / 0).count()


@settings(max_examples=30)
@given(bodies=st.lists(st.binary(max_size=300), max_size=5))
def test_bodies_of_any_bytes_are_read_unchanged(tmp_path_factory, bodies):
    pytest.importorskip("fastwarc")
    path = tmp_path_factory.getbasetemp() / "any.warc.gz"
    path.write_bytes(b"".join(gzip.compress(record(body=body)) for body in bodies))
    assert read(path).map(lambda row: row.body).collect() == bodies


# -- CloudFront --------------------------------------------------------------------------------

LINE = """2019-12-04 21:02:31 LAX1 392 192.0.2.100 GET d111.cloudfront.net /index.html 200
          Mozilla/5.0%20(X11) 0.001"""
LINE = "\t".join(LINE.split())
FIELDS = "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(User-Agent)"
FIELDS = f"{FIELDS} time-taken"


def log(*lines, fields=FIELDS):
    return "\n".join(["#Version: 1.0", f"#Fields: {fields}", *lines, ""])


def requests(path):
    return data.cloudfront(path, pool=here)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_fields_of_a_request_have_types(tmp_path, pack):
    path = tmp_path / ("log.gz" if pack is gzip.compress else "log")
    path.write_bytes(pack(log(LINE, "", LINE.replace("\t200\t", "\t000\t").replace("392", "-")).encode()))
    first, second = requests(path).collect()
    assert first.time == datetime(2019, 12, 4, 21, 2, 31, tzinfo=timezone.utc)
    assert (first.sc_bytes, first.sc_status, first.time_taken, first.cs_host) == (
        392,
        200,
        0.001,
        "d111.cloudfront.net",
    )
    assert first.cs_user_agent == "Mozilla/5.0%20(X11)" and first.sc_range_end is None
    assert (second.sc_bytes, second.sc_status) == (None, 0)
    assert len(first) == 32 and requests(path).mean("time_taken") == 0.001
    assert requests(path).explain().startswith("cloudfront ")


def test_logs_with_other_field_orders_and_concatenated_logs_are_read(tmp_path):
    (tmp_path / "a").write_text(
        log(LINE) + log("7\tGET\t2019-12-04\tXX", fields="sc-bytes cs-method date c-country")
    )
    (tmp_path / "b").write_text("")
    (tmp_path / "c").write_text(log())
    rows = requests(tmp_path).collect()
    assert [row.sc_bytes for row in rows] == [392, 7]
    assert rows[1].c_country == "XX" and rows[1].time is None and rows[1]._fields[:-1] == rows[0]._fields


@pytest.mark.parametrize(
    "line, column, reason",
    [
        (LINE.replace("392", "many"), "sc_bytes", "ValueError: .*'many'"),
        (LINE.replace("0.001", "x"), "time_taken", "ValueError: .*'x'"),
        (LINE.replace("21:02:31", "25:02:31"), "time", "ValueError: .*25:02:31"),
        (LINE[:40], None, "5 fields where #Fields names 11"),
        ("one word", None, "1 fields where #Fields names 11"),
    ],
)
def test_a_line_that_contradicts_its_header_is_a_bad_row(tmp_path, line, column, reason):
    path = tmp_path / "log"
    path.write_text(log(LINE, line, LINE))
    with pytest.raises(data.BadRow, match=rf"log, line 4(, column {column})?: {reason}") as raised:
        requests(path).count()
    assert (raised.value.line, raised.value.column) == (4, column)
    rows, errors = requests(path).options(on_error="collect").count()
    assert rows == 2 and len(errors) == 1


def test_a_log_without_a_header_or_cut_off_is_refused(tmp_path):
    path = tmp_path / "log"
    path.write_text(LINE)
    with pytest.raises(data.BadRow, match=r"log, line 1: no CloudFront log: a #Fields header must come"):
        requests(path).count()
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(log(*[LINE] * 500).encode())[:-9])
    with pytest.raises(data.UnreadableFile, match=r"log\.gz cannot be read: .*truncated"):
        requests(path).options(on_error="skip").count()
