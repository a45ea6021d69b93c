"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Writes a table, without a line end after it.

    Args:
        head: The heads of its columns.
        rows: Rows of as many cells, without line ends.
    """
    lines = [head, ["---"] * len(head), *rows]
    escaped = ([str(cell).replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)
