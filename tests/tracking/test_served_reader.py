"""Requests to a served reader, through MLflow's own server.

Oracle: the answers of the same reader to the same questions in Python.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from mlflow import pyfunc
from mlflow.pyfunc import scoring_server

from roberta_squad_pipeline import Reader
from roberta_squad_pipeline.reader.storage import TrainedReader, save_reader
from roberta_squad_pipeline.tracking.models import pack_model

pytestmark = pytest.mark.usefixtures("one_thread")

GOOD = {"question": "Which river?", "passage": "The mill stands on the Isk."}


@pytest.fixture
def reader(evaluated: TrainedReader) -> Reader:
    return Reader(evaluated)


@pytest.fixture
def server(evaluated: TrainedReader, tmp_path: Path) -> TestClient:
    save_reader(evaluated, tmp_path / "reader")
    pack_model(tmp_path / "reader", tmp_path / "model", None)
    return TestClient(scoring_server.init(pyfunc.load_model(str(tmp_path / "model"))))


def served(server: TestClient, rows: list[dict[str, Any]], **params: Any) -> list[dict[str, Any]]:
    body = {"dataframe_records": rows} | ({"params": params} if params else {})
    # As JSON escapes half a character, which is no UTF-8.
    response = server.post(
        "/invocations", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 200, response.text
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


def test_a_bad_row_costs_no_other(server: TestClient, reader: Reader) -> None:
    """Null, left out, blank, a number, half a character, and a text without a word."""
    bad = [
        (GOOD | {"passage": None}, "passage 2: got nothing"),
        ({"question": "Which river?"}, "passage 3: got nothing"),
        (GOOD | {"question": " "}, "question 4: got white space alone"),
        (GOOD | {"passage": 7}, "passage 5: got a value of type int, 7"),
        (GOOD | {"passage": "\ud83d"}, "passage 6: got half a character"),
    ]
    rows = served(server, [GOOD, *(row for row, _ in bad), GOOD])
    answer = reader.answer(**GOOD)
    for row in (rows[0], rows[-1]):
        assert (row["answer"], row["error"]) == (answer.text, None)
        assert (row["char_start"], row["char_end"]) == (
            answer.best.char_start,
            answer.best.char_end,
        )
        assert row["answer_probability"] == pytest.approx(answer.answer_probability, abs=1e-5)
    for row, (_, said) in zip(rows[1:-1], bad, strict=True):
        assert row["error"].startswith(said)
        assert {value for name, value in row.items() if name != "error"} == {None}


def test_a_request_of_bad_rows_alone(server: TestClient) -> None:
    [row] = served(server, [GOOD | {"passage": None}], n_best=2)
    assert row["candidates"] == []
    assert "got nothing" in row["error"]


def test_rows_with_and_without_an_answer(server: TestClient, reader: Reader) -> None:
    """An answer that is missing is null, which JSON has, and not NaN."""
    rows = [GOOD, GOOD | {"question": "Who built the bridge in 1889?"}]
    scores = [answer.no_answer_score for answer in reader.answer_all(rows)]
    predicted = served(server, rows, threshold=sum(scores) / 2)
    low, high = (
        predicted[place] for place in (scores.index(min(scores)), scores.index(max(scores)))
    )
    assert low["answer"] == low["best_span"]
    assert high["answer"] is None


def test_threshold_and_n_best(server: TestClient, reader: Reader) -> None:
    answer = reader.answer(**GOOD)
    for beside, text in ((-1.0, None), (1.0, answer.best.text)):
        [row] = served(server, [GOOD], threshold=answer.no_answer_score + beside)
        assert row["answer"] == text
        assert row["best_span"] == answer.best.text
        assert "candidates" not in row
    [row] = served(server, [GOOD], n_best=2)
    assert row["answer"] == answer.text
    assert [one["text"] for one in row["candidates"]] == [c.text for c in answer.candidates[:2]]
    refused = server.post(
        "/invocations", json={"dataframe_records": [GOOD], "params": {"n_best": 0}}
    )
    assert refused.status_code == 400
    assert "parameter n_best: got 0; expected at least 1" in refused.text
