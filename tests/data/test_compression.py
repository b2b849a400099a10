"""Compressed files: whole, in several frames, cut off, damaged, and none at all."""

import bz2
import gzip
import json
import lzma
import os

import pytest

from cmpi import data
from tests.data.test_web import WHOLE

zstd = pytest.importorskip("backports.zstd")
here = data.Serial()


def compress_zst(content):
    return zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})


PACK = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": compress_zst}
N = 3000
ROWS = [(i, os.urandom(8).hex()) for i in range(N)]
TEXT = {
    "txt": "".join(f"{number} {text}\n" for number, text in ROWS),
    "csv": "number,text\n" + "".join(f"{number},{text}\n" for number, text in ROWS),
    "jsonl": "".join(json.dumps({"number": number, "text": text}) + "\n" for number, text in ROWS),
    "json": json.dumps([{"number": number, "text": text} for number, text in ROWS]),
}


def read(form, path):
    """The rows of a file, as pairs."""
    if form == "txt":
        return data.text(path, pool=here).map(lambda line: (int(line.split()[0]), line.split()[1]))
    if form == "csv":
        return data.csv(path, types={"number": int}, pool=here).map(tuple)
    source = data.json_lines if form == "jsonl" else data.json
    return source(path, pool=here).map(lambda row: (row["number"], row["text"]))


@pytest.mark.parametrize("form", TEXT)
@pytest.mark.parametrize("kind", PACK)
def test_each_format_is_read_from_each_compression(tmp_path, form, kind):
    path, content = tmp_path / f"a.{form}.{kind}", TEXT[form].encode()
    path.write_bytes(PACK[kind](content))
    assert read(form, path).collect() == ROWS
    path.write_bytes(PACK[kind](content[:5000]) + PACK[kind](content[5000:]))
    assert read(form, path).collect() == ROWS


@pytest.mark.parametrize("kind", PACK)
def test_a_truncated_damaged_or_invalid_file_is_named_with_the_position(tmp_path, kind):
    whole = PACK[kind](TEXT["csv"].encode())
    path = tmp_path / f"a.csv.{kind}"
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(64) + whole[middle + 64 :]
    for content, at in ((whole[:-30], "[0-9,]+"), (damaged, "[0-9,]+"), (b"plain text\n" * 9, "0")):
        path.write_bytes(content)
        message = rf"a\.csv\.{kind} cannot be read: .*, after {at} bytes of content\. It is truncated, "
        for on_error in ("raise", "skip", "collect"):
            with pytest.raises(data.UnreadableFile, match=message):
                data.text(path, pool=here).options(on_error=on_error).count()
            with pytest.raises(data.UnreadableFile, match=message):
                data.csv(path, pool=here).options(on_error=on_error).collect()
        with pytest.raises(data.UnreadableFile, match=message):
            data.csv(path, pool=here).count()  # by Arrow
    path.write_bytes(whole[:-30])
    with pytest.raises(data.UnreadableFile) as caught:
        data.text(path, pool=here).count()
    if kind == "gz":  # the others decompress large blocks
        assert int(str(caught.value).split(", after ")[1].split()[0].replace(",", "")) > 30_000


def packed(records, dictionary=None, pack=bytes):
    """A .warc.zst file, with a frame for each record, and the dictionary in a frame before them."""
    frames = [zstd.compress(each, zstd_dict=dictionary) for each in records]
    if dictionary is None:
        return b"".join(frames)
    content = pack(dictionary.dict_content)
    return b"\x5d\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content + b"".join(frames)


@pytest.mark.parametrize("pack", [None, bytes, zstd.compress], ids=["none", "plain", "compressed"])
def test_warc_zst_is_read_with_and_without_a_dictionary(tmp_path, pack):
    pytest.importorskip("fastwarc")
    trained = zstd.train_dict([os.urandom(20) + b"".join(WHOLE) for _ in range(50)], 4096)
    path = tmp_path / "a.warc.zst"
    content = packed(WHOLE, None if pack is None else trained, pack)
    path.write_bytes(content)
    (tmp_path / "b.warc").write_bytes(b"".join(WHOLE))
    every = data.warc(path, types=None, pool=here).collect()
    assert every == data.warc(tmp_path / "b.warc", types=None, pool=here).collect() and len(every) == 5
    for bad in (content[:-5], content[:6], b"\x5d\x2a\x4d\x18\x04\x00\x00\x00none" + content[-200:]):
        path.write_bytes(bad)
        with pytest.raises(data.UnreadableFile, match=r"a\.warc\.zst cannot be read: .* bytes of content"):
            data.warc(path, pool=here).collect()
