"""Tables for other programs.

Oracle: Markdown by hand, as GitHub reads it; OWASP's list of what begins a formula.
"""

import pandas as pd

from roberta_squad_pipeline.common.tables import table, without_formulas


def test_table_in_markdown() -> None:
    assert table(("split", "bytes"), [("train", 5), ("a|b", 3)]) == (
        "| split | bytes |\n| --- | --- |\n| train | 5 |\n| a\\|b | 3 |"
    )


def test_of_what_a_spreadsheet_would_execute_texts_alone_are_changed() -> None:
    frame = pd.DataFrame(
        {
            "text": ["=1+1", "+1", "-5", "@A1", "\t=1", "\r=1", "\n=1", "a=b", "", "'=1", None],
            "number": [-1.5] * 11,
        }
    )
    found = without_formulas(frame)
    assert found["text"].tolist()[:10] == [
        *("'=1+1", "'+1", "'-5", "'@A1", "'\t=1", "'\r=1", "'\n=1"),
        *("a=b", "", "'=1"),
    ]
    assert found["text"].isna().tolist() == [False] * 10 + [True]
    assert found["number"].tolist() == [-1.5] * 11
    assert found["number"].dtype == frame["number"].dtype
