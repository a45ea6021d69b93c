"""One set of questions in every form that people have it in.

Oracle: the questions themselves, written in each form by json, pyarrow, pandas or csv; and the
number of a line or row at which something was spoilt.
"""

import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad import forms
from roberta_squad_pipeline.squad.dataset import read_gold, read_squad
from roberta_squad_pipeline.squad.forms import Item, read_items

Json = dict[str, Any]

RIVER, BELL = 'The Wend rises near "Mill, Bridge".\nIt ends in the sea.', "Eine Glocke 😀 läutet."


def answers(text: str, context: str) -> Json:
    return {"text": [text], "answer_start": [context.index(text)]}


NONE: Json = {"text": [], "answer_start": []}
RECORDS: list[Json] = [
    {"id": "a", "title": "Wend", "context": RIVER, "question": "Where?", "answers": NONE},
    {"id": "b", "title": "Wend", "context": RIVER, "question": "What, then?"}
    | {"answers": answers('near "Mill', RIVER)},
    {"id": "c", "title": "Bell", "context": BELL, "question": "Was?"}
    | {"answers": answers("läutet", BELL)},
]


def json_lines(records: list[Json]) -> bytes:
    return "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in records).encode()


def comma_separated(records: list[Json], spelled: Callable[[Json], str] = json.dumps) -> bytes:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(records[0]))
    table.writeheader()
    table.writerows([one | {"answers": spelled(one["answers"])} for one in records])
    return text.getvalue().encode()


def parquet(records: list[Json]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), sink)
    return sink.getvalue()


def as_pandas(records: list[Json]) -> bytes:
    """A frame as datasets makes it of a table, written by pandas with NumPy's arrays in it."""
    frame = pd.DataFrame(records)
    frame["answers"] = [
        {
            "text": np.array(one["text"], object),
            "answer_start": np.array(one["answer_start"], np.int32),
        }
        for one in frame["answers"]
    ]
    return frame.to_csv(index=False).encode()


NAMED_PASSAGE: list[Json] = [
    {"passage" if key == "context" else key: value for key, value in one.items()} for one in RECORDS
]
FORMS: dict[str, bytes] = {
    "passages.jsonl": json_lines(NAMED_PASSAGE),
    "passages.json": json.dumps(NAMED_PASSAGE).encode(),
    "passages.parquet": parquet(NAMED_PASSAGE),
    "passages.csv": comma_separated(NAMED_PASSAGE),
    "passages.txt": comma_separated(NAMED_PASSAGE),
    "lines.jsonl": json_lines(RECORDS),
    "lines.json": json_lines(RECORDS),
    "lines.jsonl.gz": gzip.compress(json_lines(RECORDS), mtime=0),
    "list.json": json.dumps(RECORDS, indent=1).encode(),
    "data.json": json.dumps({"version": "0.1.0", "data": RECORDS}).encode(),
    "utf16.json": json.dumps(RECORDS).encode("utf-16"),
    "table.parquet": parquet(RECORDS),
    "python.csv": comma_separated(RECORDS, spelled=repr),
    "json.csv": b"\xef\xbb\xbf" + comma_separated(RECORDS),
    "numpy.csv": as_pandas(RECORDS),
    "json.txt": comma_separated(RECORDS),
    "packed.csv.gz": gzip.compress(comma_separated(RECORDS), mtime=0),
    "tabs.tsv": pd.DataFrame(RECORDS).to_csv(index=False, sep="\t").encode(),
}


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", FORMS)
def test_every_form_holds_the_same_questions(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "_ROWS", 2)
    path = write(tmp_path, name, FORMS[name])
    dataset = read_squad(path, on_misaligned="error")
    assert [passage.text for passage in dataset.passages] == [RIVER, BELL]
    assert [passage.title for passage in dataset.passages] == ["Wend", "Bell"]
    assert [(one.id, one.text) for one in dataset.questions] == [
        (one["id"], one["question"]) for one in RECORDS
    ]
    assert dataset.gold == {one["id"]: tuple(one["answers"]["text"]) for one in RECORDS}
    assert read_gold(path) == dataset.gold


def test_columns_beside_each_other(tmp_path: Path) -> None:
    """As datasets flattens them."""
    flat = [
        {key: value for key, value in one.items() if key != "answers"}
        | {f"answers.{key}": value for key, value in one["answers"].items()}
        for one in RECORDS
    ]
    path = write(tmp_path, "flat.parquet", parquet(flat))
    assert read_squad(path, on_misaligned="error").gold["c"] == ("läutet",)


@pytest.mark.parametrize(
    ("cell", "flag"),
    [("", None), ("True", True), ("false", False), ("0", False), ("1.0", True), ("maybe", "maybe")],
)
def test_flags_in_a_table(tmp_path: Path, cell: str, flag: object) -> None:
    content = f"id,context,question,answers,is_impossible\n,c,q,,{cell}\n"
    (item,) = read_items(write(tmp_path, "table.csv", content.encode()))
    assert isinstance(item, Item)
    assert item.content == {"context": "c", "question": "q", "answers": None} | {
        "is_impossible": flag
    }


def places(path: Path) -> list[str]:
    return [
        one.where.removeprefix(f"{path}: ") if isinstance(one, InputError) else one.place
        for one in read_items(path)
    ]


def test_a_line_that_is_not_json_hides_no_other(tmp_path: Path) -> None:
    lines = json_lines(RECORDS).splitlines()
    lines[1:1] = [b"", b'{"id": ', b'{"id": "\xff"}']
    path = write(tmp_path, "lines.jsonl", b"\n".join(lines))
    assert places(path) == ["line 1", "line 3, column 7", "line 4, byte 8", "line 5", "line 6"]


def test_a_row_with_too_many_cells_hides_no_other(tmp_path: Path) -> None:
    content = b"id,context,question,answers\na,c,q,\nb,c,q,x,y\nc,c,q,\n"
    path = write(tmp_path, "table.csv", content)
    assert places(path) == ["row 2", "row 3", "row 4"]
    _, fault, _ = read_items(path)
    assert isinstance(fault, InputError)
    assert (fault.got, fault.expected[:1]) == ("5 cells", "4")


@pytest.mark.parametrize(
    ("name", "content", "got"),
    [
        ("zip.json", b"PK\x03\x04 and more", "a zip archive"),
        ("half.json.gz", gzip.compress(b'{"data": []}', mtime=0)[:-9], "gzip that is damaged"),
        ("half.parquet", parquet(RECORDS)[:-9], "a Parquet file that is damaged"),
        ("numbers.parquet", parquet([{"x": 1}]), "a table with the columns 'x'"),
        ("other.csv", b"text,label\na,b\n", "a table with the columns 'text', 'label'"),
        ("open.csv", b'context,question\nc,"q\n', "a table that cannot be read"),
        ("latin.csv", b"context,question\n\xe9,q\n", "a table that cannot be read"),
        ("wide.json", json.dumps(RECORDS).encode("utf-32"), "text in UTF-32"),
        ("odd.json", json.dumps(RECORDS).encode("utf-16")[:-1], "text in UTF-16 that breaks"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, got: str) -> None:
    path = write(tmp_path, name, content)
    *_, fault = read_items(path)
    assert isinstance(fault, InputError)
    assert fault.where.startswith(str(path))
    assert got in fault.got
    assert fault.remedy.endswith(".")


def test_shards_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Also of different forms; what two of them have in common is a fault."""
    write(tmp_path, "train-1.parquet", parquet(RECORDS[2:]))
    write(tmp_path, "train-0.jsonl", json_lines(RECORDS[:2]))
    write(tmp_path, "_SUCCESS", b"")
    for path in (tmp_path, tmp_path / "train-*"):
        assert list(read_gold(path)) == ["a", "b", "c"]
        assert len(read_squad(path, on_misaligned="error").passages) == 2
    twice = write(tmp_path, "train-2.json", json.dumps(RECORDS[:1]).encode())
    with pytest.raises(InputError, match=r"train-2\.json: \[0\]: got the id \"a\", which is also"):
        read_squad(tmp_path, on_misaligned="error")
    twice.write_bytes(b"{")
    assert places(tmp_path)[-1].startswith(f"{twice}: line 1")


@pytest.mark.parametrize(
    ("names", "got"),
    [
        ([], "no file"),
        (["train-0.json", "validation-0.json"], r"several splits (train, valid)"),
        (["dev.json", "train.json"], "several splits (dev, train)"),
    ],
)
def test_a_folder_is_of_one_split(tmp_path: Path, names: list[str], got: str) -> None:
    for name in names:
        write(tmp_path, name, b"[]")
    (fault,) = read_items(tmp_path)
    assert isinstance(fault, InputError)
    assert got in fault.got
    assert "train-*.parquet" in fault.remedy


def test_parquet_is_not_held_whole(tmp_path: Path) -> None:
    """Oracle: what Arrow has allocated, for a file of 16 MB in one group of rows."""
    rows = [{"question": "?", "context": os.urandom(400).hex()} for _ in range(20_000)]
    path = tmp_path / "table.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=len(rows))
    del rows
    before = pa.total_allocated_bytes()
    items = read_items(path)
    first = next(items)
    held = pa.total_allocated_bytes() - before
    assert isinstance(first, Item)
    assert first.place == "row 0"
    assert 0 < held < path.stat().st_size / 3
    assert sum(1 for _ in items) == 19_999
