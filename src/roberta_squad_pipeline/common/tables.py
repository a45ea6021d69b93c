"""Tables for other programs: in Markdown, and safe for spreadsheets."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""As in evaluation/report/page.js. Source: OWASP, CSV Injection."""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Writes a table in Markdown, without a line end after it.

    Args:
        head: The heads of its columns.
        rows: Rows of as many cells, without line ends.
    """
    lines = [head, ["---"] * len(head), *rows]
    escaped = ([str(cell).replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def without_formulas(table: "pd.DataFrame") -> "pd.DataFrame":
    """Puts an apostrophe before texts that a spreadsheet would execute."""
    return table.map(
        lambda cell: (
            f"'{cell}" if isinstance(cell, str) and cell.startswith(_BEGINS_A_FORMULA) else cell
        )
    )
