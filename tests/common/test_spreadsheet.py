"""Texts that a spreadsheet would execute. Oracle: OWASP's list of what begins a formula."""

import pandas as pd

from roberta_squad_pipeline.common.spreadsheet import without_formulas


def test_texts_alone_are_changed() -> None:
    table = pd.DataFrame(
        {
            "text": ["=1+1", "+1", "-5", "@A1", "\t=1", "\r=1", "\n=1", "a=b", "", "'=1", None],
            "number": [-1.5] * 11,
        }
    )
    found = without_formulas(table)
    assert found["text"].tolist()[:10] == [
        *("'=1+1", "'+1", "'-5", "'@A1", "'\t=1", "'\r=1", "'\n=1"),
        *("a=b", "", "'=1"),
    ]
    assert found["text"].isna().tolist() == [False] * 10 + [True]
    assert found["number"].tolist() == [-1.5] * 11
    assert found["number"].dtype == table["number"].dtype
