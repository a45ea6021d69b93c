"""What one uses from Python: `from roberta_squad_pipeline import Reader`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from roberta_squad_pipeline.common.files import written_atomically
from roberta_squad_pipeline.inference.answering import Answer, Asked, answer_questions
from roberta_squad_pipeline.reader.device import available_device
from roberta_squad_pipeline.reader.exchange.export import save_pretrained
from roberta_squad_pipeline.reader.storage import TrainedReader, load_reader
from roberta_squad_pipeline.tracking.fetching import reader_folder


class Reader:
    """Answers questions to passages, or says that they do not answer them.

    Args:
        trained: Loaded from a folder; `Reader.load` does that.
    """

    def __init__(self, trained: TrainedReader) -> None:
        self.trained = trained

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Loads a trained reader.

        Args:
            source: A folder (`data/06_models/demo`, or one that `save_pretrained` wrote), or a
                model in MLflow (`models:/roberta_squad_pipeline/1`, `runs:/RUN_ID/reader`), in the
                store of MLFLOW_TRACKING_URI or else in mlflow.db of the current folder.

        Raises:
            InputError: There is no reader, or the store does not answer.
        """
        with reader_folder(str(source)) as folder:
            return cls(load_reader(folder))

    def answer(self, question: str, passage: str) -> Answer:
        """Answers a question to a passage of any length.

        Raises:
            InputError: One of the two is blank.
        """
        return self.answer_all([(question, passage)])[0]

    def answer_all(self, asked: Iterable[tuple[str, str]]) -> list[Answer]:
        """Answers many questions at once, which is faster than one after the other.

        Args:
            asked: Questions with their passages.

        Raises:
            InputError: A question or a passage is blank.
        """
        pairs = [Asked(question, passage) for question, passage in asked]
        return answer_questions(self.trained, pairs, device=available_device())

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes a folder that transformers' `AutoModelForQuestionAnswering` loads.

        The answerability head lies beside it, and README.md is a model card; `Reader.load` loads
        the folder as well. An earlier folder of that name is replaced.

        Raises:
            InputError: transformers has no question-answering model that fits this encoder.
        """
        with written_atomically(Path(folder)) as temp:
            save_pretrained(self.trained, temp, name=Path(folder).name)
