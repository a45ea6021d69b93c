"""What one uses from Python: `from roberta_squad_pipeline import Reader`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import written_atomically
from roberta_squad_pipeline.inference.answering import Answer, answer_questions, as_asked
from roberta_squad_pipeline.reader.storage import TrainedReader, load_reader
from roberta_squad_pipeline.tracking.fetching import reader_folder

if TYPE_CHECKING:
    import pandas as pd


class Reader:
    """Answers questions on passages, or says that a passage has no answer.

    Args:
        trained: A loaded reader; `Reader.load` is the usual way to get one.
    """

    def __init__(self, trained: TrainedReader) -> None:
        if not isinstance(trained, TrainedReader):
            raise InputError(
                where="Reader",
                got=f"{trained!r}",
                expected="a reader that is loaded already",
                remedy=f"Load it: Reader.load({str(trained)!r})",
            )
        self.trained = trained

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Loads a trained reader.

        Args:
            source: A folder (`data/06_models/demo`, or one written by `save_pretrained`), or a
                model in MLflow (`models:/roberta_squad_pipeline/1`, `runs:/RUN_ID/reader`), in the
                store of MLFLOW_TRACKING_URI or else in mlflow.db in the current folder.

        Raises:
            InputError: There is no reader, or the store does not answer.
        """
        with reader_folder(str(source)) as folder:
            return cls(load_reader(folder))

    def answer(self, question: str, passage: str) -> Answer:
        """Answers a question on a passage of any length.

        Raises:
            InputError: The question or the passage is blank or not a text.
        """
        return self.answer_all([(question, passage)])[0]

    def answer_all(
        self, asked: "Iterable[tuple[str, str] | Mapping[str, Any]] | pd.DataFrame"
    ) -> list[Answer]:
        """Answers many questions at once, which is faster than one by one.

        Args:
            asked: Pairs of question and passage; or dicts with `question` and either `passage` or
                `context`; or a pandas frame with such columns. Other keys and columns are ignored.

        Raises:
            InputError: A row is something else, or a question or a passage is blank.
        """
        rows = [as_asked(row, number) for number, row in enumerate(_rows(asked))]
        return answer_questions(self.trained, rows)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes a folder that transformers' `AutoModelForQuestionAnswering` loads.

        The folder also holds the answerability head and a model card, README.md; `Reader.load` can
        load it, too. An earlier folder of that name is replaced.

        Raises:
            InputError: transformers has no question-answering model that fits this encoder.
        """
        from roberta_squad_pipeline.reader.exchange.pretrained import save_pretrained

        with written_atomically(Path(folder)) as temp:
            save_pretrained(self.trained, temp, name=Path(folder).name)


def _rows(asked: Any) -> Iterable[object]:
    if isinstance(asked, str | bytes | Mapping) or not isinstance(asked, Iterable):
        raise InputError(
            where="answer_all",
            got=f"a value of type {type(asked).__name__}",
            expected="a list of questions with their passages, or a pandas frame",
            remedy="Put a single question into a list, or call answer(question, passage).",
        )
    # Not by its class, which would need an import of pandas.
    if hasattr(asked, "columns") and hasattr(asked, "to_dict"):
        rows: list[object] = asked.to_dict(orient="records")
        return rows
    return asked
