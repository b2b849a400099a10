"""Draws the table: cmpi's figures as multiples of those it is compared with."""

from __future__ import annotations

import importlib
from typing import Any

from cmpi.bench.common import Row


def draw(rows: list[Row], title: str, path: str) -> None:
    """Draw the ratios of the rows that have one, to a file in any of matplotlib's formats.

    Raises:
        SystemExit: matplotlib is not installed.
    """
    try:
        matplotlib: Any = importlib.import_module("matplotlib.figure")
    except ImportError:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from None
    names, values = [], []
    what = ""
    for row in rows:
        what = what if row.what.startswith(" ") else row.what
        if row.ratio is not None:
            names.append(f"{what}\nagainst {row.against}")
            values.append(row.ratio)
    figure: Any = matplotlib.Figure(figsize=(9, 1 + 0.6 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(names, values, color="#3b7dd8")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.bar_label(axes.containers[0], fmt="%.2f", padding=3)
    axes.invert_yaxis()
    axes.set_xlabel("cmpi / other (time: less is better; k/s and GB/s: more is)")
    axes.set_title(title)
    figure.savefig(path)
