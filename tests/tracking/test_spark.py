"""The registered model as a function of Spark, on a table of its own.

Oracle: the answers of the same reader to the same questions in Python.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import pyfunc

from roberta_squad_pipeline import Reader
from roberta_squad_pipeline.reader.storage import TrainedReader, save_reader
from roberta_squad_pipeline.squad.dataset import SquadDataset
from roberta_squad_pipeline.tracking.models import pack_model

sql = pytest.importorskip("pyspark.sql", reason='needs pip install -e ".[spark]"')
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(shutil.which("java") is None, reason="needs Java"),
]


@pytest.fixture
def spark() -> Iterator[Any]:
    builder = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    session = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    yield session
    session.stop()


@pytest.mark.parametrize("encoder_folder", ["roberta"], indirect=True)
def test_spark_answers_a_parquet_table(
    spark: Any, evaluated: TrainedReader, tiny_squad: SquadDataset, tmp_path: Path
) -> None:
    """One row without a passage, which costs no other."""
    table = pd.DataFrame(
        [
            {"id": question.id, "question": question.text, "passage": passage.text}
            for passage in tiny_squad.passages
            for question in passage.questions
        ]
        + [{"id": "bad", "question": "Which river?", "passage": None}]
    )
    table.to_parquet(tmp_path / "questions.parquet")
    save_reader(evaluated, tmp_path / "reader")
    pack_model(tmp_path / "reader", tmp_path / "model", None)
    answer = pyfunc.spark_udf(spark, str(tmp_path / "model"), env_manager="local")
    questions = spark.read.parquet(str(tmp_path / "questions.parquet"))
    answered = questions.withColumn("found", answer("question", "passage"))
    answered.select("id", "found.*").write.parquet(str(tmp_path / "answers.parquet"))
    found = pd.read_parquet(tmp_path / "answers.parquet").set_index("id").to_dict(orient="index")
    expected = Reader(evaluated).answer_all(table[:-1])
    assert len(found) == len(table)
    for name, wanted in zip(table["id"], expected, strict=False):
        row = found[name]
        assert (row["answer"], row["error"]) == (wanted.text or "", "")
        best = wanted.best
        assert (row["best_span"], row["char_start"], row["char_end"]) == (
            best.text,
            best.char_start,
            best.char_end,
        )
        assert row["answer_probability"] == pytest.approx(wanted.answer_probability, abs=1e-5)
        assert row["no_answer_score"] == pytest.approx(wanted.no_answer_score, abs=1e-5)
    bad = found["bad"]
    assert (bad["answer"], bad["best_span"], bad["char_start"]) == ("", "", -1)
    assert pd.isna(bad["answer_probability"])
    assert "got nothing; expected a passage" in bad["error"]
