"""The code of the model that MLflow keeps and serves: no pickle, MLflow runs this file.

The reader's folder is its artifact `reader`.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.inference.answering import Answer, answers_or_errors
from roberta_squad_pipeline.reader.device import available_device
from roberta_squad_pipeline.reader.storage import load_reader

_NUMBERS = {
    "char_start": "int64",
    "char_end": "int64",
    "answer_probability": "float64",
    "no_answer_probability": "float64",
    "question_tokens_cut": "int64",
}


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
            context: What `load_context` was given.
            model_input: Columns question and passage.
            params: `threshold`, above which the reader abstains instead of above its own, and
                `n_best`, how many spans to give for each question.

        Returns:
            A row per question: answer (missing where the reader abstains), the best span and its
            characters in the passage, both probabilities, how many tokens at the question's end
            were not read, with `n_best` the candidates, best first, and `error`, which says what is
            wrong with a row that has no answer for that.

        Raises:
            MlflowException: A parameter is out of range.
        """
        threshold, n_best = _checked(params or {})
        found = answers_or_errors(
            self._trained, model_input.to_dict(orient="records"), device=available_device()
        )
        rows = [_row(one, threshold, n_best) for one in found]
        # As objects what is missing stays None, which JSON has, and whole numbers stay whole.
        table = pd.DataFrame(rows, dtype=object)
        if any(isinstance(one, InputError) for one in found):
            return table
        return table.astype({name: kind for name, kind in _NUMBERS.items() if name in table})


def _checked(params: dict[str, Any]) -> tuple[float | None, int | None]:
    threshold, n_best = params.get("threshold"), params.get("n_best")
    if n_best is not None and n_best < 1:
        raise MlflowException.invalid_parameter_value(
            f"parameter n_best: got {n_best}; expected at least 1. Leave it out to get the best "
            "span alone."
        )
    return threshold, n_best


def _row(found: Answer | InputError, threshold: float | None, n_best: int | None) -> dict[str, Any]:
    if isinstance(found, InputError):
        names = ("answer", "best_span", *_NUMBERS)
        candidates: dict[str, Any] = {} if n_best is None else {"candidates": []}
        return dict.fromkeys(names) | candidates | {"error": str(found)}
    text, best = found.text, found.best
    if threshold is not None:
        text = None if found.no_answer_score > threshold else best.text
    row: dict[str, Any] = {
        "answer": text,
        "best_span": best.text,
        "char_start": best.char_start,
        "char_end": best.char_end,
        "answer_probability": found.answer_probability,
        "no_answer_probability": found.no_answer_probability,
        "question_tokens_cut": found.question_tokens_cut,
    }
    if n_best is not None:
        row["candidates"] = [asdict(one) for one in found.candidates[:n_best]]
    return row | {"error": None}


set_model(ServedReader())
