"""Saves a reader for others: in transformers' layout, with a model card."""

import copy
from pathlib import Path

from safetensors.torch import save_file

from roberta_squad_pipeline.reader.exchange.model_card import model_card
from roberta_squad_pipeline.reader.exchange.pretrained import (
    ANSWERABILITY_HEAD,
    question_answering_architecture,
    to_question_answering,
)
from roberta_squad_pipeline.reader.storage import WEIGHTS, TrainedReader, save_beside_weights


def save_pretrained(trained: TrainedReader, folder: Path, *, name: str) -> None:
    """Writes a folder for `AutoModelForQuestionAnswering` and `load_reader`.

    Args:
        trained: The reader.
        folder: A folder that does not exist yet.
        name: The model's name on its card.

    Raises:
        InputError: transformers has no question-answering model that fits this encoder, or the
            reader is an ONNX model.
    """
    reader = trained.in_torch
    config = copy.deepcopy(reader.encoder.config)
    config.architectures = [question_answering_architecture(config)]
    weights, answerability = to_question_answering(reader.state_dict(), config)
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    for tensors, file in ((weights, WEIGHTS), (answerability, ANSWERABILITY_HEAD)):
        contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
        save_file(contiguous, folder / file, metadata={"format": "pt"})
    save_beside_weights(trained, folder)
    (folder / "README.md").write_text(model_card(trained, name), encoding="utf-8")
