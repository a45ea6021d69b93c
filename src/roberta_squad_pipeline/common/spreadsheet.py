"""Makes tables safe for spreadsheets."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""As in evaluation/report/page.js. Source: OWASP, CSV Injection."""


def without_formulas(table: "pd.DataFrame") -> "pd.DataFrame":
    """Puts an apostrophe before texts that a spreadsheet would execute."""
    return table.map(
        lambda cell: (
            f"'{cell}" if isinstance(cell, str) and cell.startswith(_BEGINS_A_FORMULA) else cell
        )
    )
