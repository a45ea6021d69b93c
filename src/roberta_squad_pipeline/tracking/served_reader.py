"""The code of the model that MLflow keeps and serves: MLflow runs this file, without pickle.

The reader's folder is the model's artifact `reader`.
"""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from roberta_squad_pipeline.inference.answering import ANSWER_COLUMNS, answers_or_errors, as_row
from roberta_squad_pipeline.reader.storage import load_reader

_IN_SPARK = {"string": "", "int64": -1}
"""Replacements for missing values, by type: MLflow's function for Spark turns a missing text into
"None", and fails at a missing whole number."""


class ServedReader(PythonModel):
    """Answers a table of questions and passages."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the reader once."""
        self._trained = load_reader(Path(context.artifacts["reader"]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Answers each row.

        Args:
            context: The argument of `load_context`.
            model_input: The columns question and passage.
            params: `threshold`, which replaces the reader's own, and `n_best`, the number of spans
                per question.

        Returns:
            A row per question: the answer (missing if the reader abstains), the best span and its
            characters in the passage, both probabilities, the no-answer score and the threshold for
            it, how many tokens at the question's end were not read, the candidates with `n_best`,
            best first, and `error`, which says what is wrong with a row that could not be answered.

        Raises:
            MlflowException: A parameter is out of range.
        """
        given = params or {}
        threshold, n_best = given.get("threshold"), given.get("n_best")
        if n_best is not None and n_best < 1:
            raise MlflowException.invalid_parameter_value(
                f"parameter n_best: got {n_best}; expected at least 1. Leave it out to get the "
                "best span alone."
            )
        found = answers_or_errors(self._trained, model_input.to_dict(orient="records"))
        if threshold is None:
            threshold = self._trained.calibration.abstains_above
        rows = [as_row(one, threshold) for one in found]
        for row in rows:
            candidates = row.pop("candidates")
            if n_best is not None:
                row["candidates"] = candidates[:n_best]
            if _in_spark():
                row |= {
                    name: _IN_SPARK[kind]
                    for name, kind in (ANSWER_COLUMNS | {"error": "string"}).items()
                    if row[name] is None and kind in _IN_SPARK
                }
        # As objects, missing values stay None, as in JSON, and whole numbers stay whole.
        table = pd.DataFrame(rows, dtype=object)
        numbers = {name: kind for name, kind in ANSWER_COLUMNS.items() if kind != "string"}
        whole = [name for name in numbers if name in table and table[name].notna().all()]
        return table.astype({name: numbers[name] for name in whole})


def _in_spark() -> bool:
    spark = sys.modules.get("pyspark")
    return spark is not None and spark.TaskContext.get() is not None


set_model(ServedReader())
