"""The progress bars of a stream's stages."""

import sys

import pytest

from cmpi import data
from cmpi.data.execution import progress
from cmpi.data.extras import MissingExtra

here = data.Serial()


@pytest.fixture
def shown_at_once(monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(progress, "SHOWN_AFTER_S", 0)


def test_each_stage_has_a_bar_with_splits_rows_and_bytes(tmp_path, capsys, shown_at_once):
    (tmp_path / "a.txt").write_text("".join(f"{i % 7}\n" for i in range(2000)))
    lines = data.text(tmp_path, split_bytes=1024, pool=here).options(progress=True)
    assert lines.group_by(into=data.count()).count() == 7
    bars = [part for part in capsys.readouterr().err.split("\r") if "100%" in part]
    assert bars[0].startswith("group_by the row: 100%") and "4/4" in bars[0], bars
    assert " rows/s, " in bars[0] and "B/s]" in bars[0]
    assert bars[-1].startswith("count: 100%") and "1/1" in bars[-1], bars


def test_a_bar_goes_on_without_a_total_and_closes_after_an_error(capsys, shown_at_once):
    rows = data.of(map(int, range(10)), pool=here).options(progress=True)
    assert rows.sum() == 45
    bars = capsys.readouterr().err.strip().split("\r")
    assert "sum(): 0 splits [00:00]" in bars and bars[-1].startswith("sum(): 100%"), bars
    with pytest.raises(data.BadRow):
        data.of([1], pool=here).options(progress=True).map(lambda x: 1 / 0).sum()


def test_the_progress_bar_is_shown_only_on_a_terminal_and_can_be_turned_off(
    monkeypatch, capsys, shown_at_once
):
    numbers = data.range(10, pool=here)
    numbers.sum()
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # as cmpirun sets it
    numbers.options(progress=False).sum()
    assert not capsys.readouterr().err
    numbers.sum()
    assert "sum(): 100%" in capsys.readouterr().err


def test_without_tqdm_there_is_no_bar_and_requesting_one_names_the_package(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    assert data.range(10, pool=here).sum() == 45
    with pytest.raises(MissingExtra, match=r"pip install 'cmpi\[data\]'"):
        data.range(10, pool=here).options(progress=True).sum()
