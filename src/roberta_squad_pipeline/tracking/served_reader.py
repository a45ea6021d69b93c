"""The code of the model that MLflow keeps and serves: no pickle, MLflow runs this file.

The reader's folder is its artifact `reader`.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from roberta_squad_pipeline.inference.answering import Asked, answer_questions
from roberta_squad_pipeline.reader.device import available_device
from roberta_squad_pipeline.reader.storage import load_reader


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
            params: None are known.

        Returns:
            A row per question: answer (missing where the reader abstains), the best span and its
            characters in the passage, and both probabilities.
        """
        asked = [
            Asked(question, passage)
            for question, passage in zip(
                model_input["question"], model_input["passage"], strict=True
            )
        ]
        return pd.DataFrame(
            [
                {
                    "answer": answer.text,
                    "best_span": answer.best.text,
                    "char_start": answer.best.char_start,
                    "char_end": answer.best.char_end,
                    "answer_probability": answer.answer_probability,
                    "no_answer_probability": answer.no_answer_probability,
                }
                for answer in answer_questions(self._trained, asked, device=available_device())
            ]
        )


set_model(ServedReader())
