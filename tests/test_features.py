"""The table of docs/peers.md says what our files do; our column is made again."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FEATURES = runpy.run_path(str(ROOT / "benchmarks" / "features.py"))
SLOW = ("region",)
"""Tested by test_api.py."""


def table() -> dict[str, dict[str, str]]:
    """Cells of the documented table, by row and column."""
    text = (ROOT / "docs" / "peers.md").read_text(encoding="utf-8")
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*$", text, re.M)
    )
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


@pytest.mark.parametrize("row", FEATURES["ROWS"], ids=lambda row: row.__name__)
def test_our_column(row: Any) -> None:
    documented = table()[FEATURES["title"](row)]
    if row.__name__ not in SLOW:
        assert row(FEATURES["FORMATS"]["ifl"]) == documented[".ifl"]


def test_the_table_has_all_rows_and_formats() -> None:
    assert list(table()) == [FEATURES["title"](row) for row in FEATURES["ROWS"]]
    assert {tuple(cells) for cells in table().values()} == {tuple(one.title for one in FEATURES["FORMATS"].values())}
