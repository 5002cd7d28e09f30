"""Put tables into the page docs/realism.md, between their markers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from meteoseg.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "realism.md"
IMAGES = ROOT / "docs" / "images"


def markdown(table: pd.DataFrame, digits: int = 2) -> str:
    """Write a table as Markdown, its index first; empty where there is no number."""
    rows = [[str(table.index.name or ""), *map(str, table.columns)], ["---"] * (1 + table.shape[1])]
    for label, values in zip(table.index, table.itertuples(index=False), strict=True):
        rows.append([str(label), *(_cell(value, digits) for value in values)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(value: object, digits: int) -> str:
    if isinstance(value, str):
        return value
    number = float(value)  # type: ignore[arg-type]
    return "" if number != number else f"{number:.{digits}f}"


def fill(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` of a page."""
    old = page.read_text(encoding="utf-8")
    first, last = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    if old.count(first) != 1 or old.count(last) != 1:
        raise InputError(f"{page.name} must have the markers '{first.strip()}' and '{last.strip()}' once each.")
    before, rest = old.split(first)
    page.write_text(before + first + text + last + rest.split(last)[1], encoding="utf-8")
