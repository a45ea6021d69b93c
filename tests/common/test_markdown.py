"""Tables in Markdown. Oracle: written by hand, as GitHub reads them."""

from roberta_squad_pipeline.common.markdown import table


def test_table() -> None:
    assert table(("split", "bytes"), [("train", 5), ("a|b", 3)]) == (
        "| split | bytes |\n| --- | --- |\n| train | 5 |\n| a\\|b | 3 |"
    )
