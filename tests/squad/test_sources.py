"""Files that are elsewhere, and questions that a dataset has loaded.

Oracle: the bytes that were put there, fsspec's own memory and a server of this machine; the
questions of the same file in SQuAD's form.
"""

import base64
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad.dataset import read_gold
from roberta_squad_pipeline.squad.forms import files_of
from roberta_squad_pipeline.squad.sources import QuestionFiles, local_path, write_questions

KNOWN = "swordfish"


def fetched(folder: Path, *paths: str, **options: Any) -> list[Path]:
    return files_of(local_path(QuestionFiles(paths, options), folder, listed_as="train"))


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    for name in ("train-0.jsonl", "train-1.jsonl", "dev.jsonl", "_SUCCESS"):
        system.pipe(f"/squad/{name}", name.encode())
    yield system
    system.rm("/squad", recursive=True)


@pytest.mark.parametrize("path", ["squad/dev.jsonl", "squad/dev*"])
def test_a_file_elsewhere_is_fetched_once(tmp_path: Path, memory: Any, path: str) -> None:
    (one,) = fetched(tmp_path, f"memory://{path}")
    assert (one.name, one.read_bytes()) == ("dev.jsonl", b"dev.jsonl")
    one.write_bytes(b"the same again")
    assert fetched(tmp_path, f"memory://{path}")[0].read_bytes() == b"the same again"
    memory.pipe("/squad/dev.jsonl", b"newer")
    assert fetched(tmp_path, f"memory://{path}")[0].read_bytes() == b"newer"


def test_several_files_are_listed(tmp_path: Path, memory: Any) -> None:
    """A pattern, a folder elsewhere with its marker left out, and a file here with a comma."""
    here = tmp_path / "my, own $x.jsonl"
    here.write_bytes(b"own")
    files = fetched(tmp_path, "memory://squad/train-*", str(here))
    assert [file.read_bytes() for file in files] == [b"train-0.jsonl", b"train-1.jsonl", b"own"]
    memory.rm("/squad/dev.jsonl")
    assert [file.name for file in fetched(tmp_path, "memory://squad")] == [
        "train-0.jsonl",
        "train-1.jsonl",
    ]


@pytest.mark.parametrize(
    ("path", "got"),
    [
        ("memory://squad", "files of several splits (dev, train)"),
        ("memory://squad/none.json", "no such file"),
        ("memory://squad/none-*.json", "no file"),
        ("nowhere://squad/dev.json", "Protocol not known"),
    ],
)
@pytest.mark.usefixtures("memory")
def test_what_cannot_be_fetched(tmp_path: Path, path: str, got: str) -> None:
    with pytest.raises(InputError) as caught:
        fetched(tmp_path, path)
    assert caught.value.where == path
    assert got in caught.value.got
    assert not list(tmp_path.rglob("*.json"))


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Of a folder of files that only who knows the secret may have."""

    class Handler(SimpleHTTPRequestHandler):
        def send_head(self) -> Any:
            known = base64.b64encode(f"me:{KNOWN}".encode()).decode()
            if self.headers["Authorization"] != f"Basic {known}":
                self.send_error(401)
                return None
            return super().send_head()

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "served").mkdir()
    (tmp_path / "served/dev.json").write_bytes(b"{}" * 5000)
    handler = partial(Handler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_credentials_open_and_are_not_told(tmp_path: Path, url: str) -> None:
    def headers(secret: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"me:{secret}".encode()).decode()}

    (one,) = fetched(tmp_path, f"{url}/dev.json", headers=headers(KNOWN))
    assert one.read_bytes() == b"{}" * 5000
    for secret, path, status in (("wrong", "dev.json", 401), (KNOWN, "no.json", 404)):
        with pytest.raises(InputError) as caught:
            fetched(tmp_path, f"{url}/{path}?key={KNOWN}", headers=headers(secret))
        assert caught.value.got == f"HTTP status {status}"
        assert KNOWN not in str(caught.value)


RECORDS = [
    {
        "id": number,
        "context": "The Wend flows, to the sea.",
        "question": "Which river?",
        "answers": {"text": texts, "answer_start": [4] * len(texts)},
    }
    for number, texts in enumerate((["Wend"], []))
]
ARRAYS = pd.DataFrame(RECORDS).assign(
    title=np.nan,
    answers=[{key: np.array(values) for key, values in one["answers"].items()} for one in RECORDS],
)


@pytest.mark.parametrize(
    "questions",
    [
        RECORDS,
        iter(RECORDS),
        {"version": "1.1", "data": RECORDS},
        pd.DataFrame(RECORDS),
        ARRAYS,
    ],
    ids=["records", "one by one", "SQuAD JSON", "frame", "frame of arrays"],
)
def test_questions_that_were_loaded(tmp_path: Path, questions: object) -> None:
    path = write_questions(questions, tmp_path / "made/train", where="catalog entry train")
    assert read_gold(path) == {"0": ("Wend",), "1": ()}


@pytest.mark.parametrize("questions", ["text", 5, None, {"part": len}, [{"id": object()}]])
def test_what_is_no_questions(tmp_path: Path, questions: object) -> None:
    with pytest.raises(InputError, match="catalog entry train: got a value of type"):
        write_questions(questions, tmp_path / "train", where="catalog entry train")
    assert not list(tmp_path.iterdir())


def test_a_list_that_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "train.files.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(InputError, match="expected a list"):
        files_of(tmp_path / "train.files.json")
