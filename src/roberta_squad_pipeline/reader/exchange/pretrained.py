"""A reader in the layout of transformers' question-answering models, with a model card."""

import copy
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForQuestionAnswering, PretrainedConfig, PreTrainedModel

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.reader.exchange.model_card import model_card
from roberta_squad_pipeline.reader.exchange.question_answering import (
    ANSWERABILITY_HEAD,
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
    model = _question_answering_model(config)
    config.architectures = [type(model).__name__]
    weights, answerability = to_question_answering(reader.state_dict(), model)
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    for tensors, file in ((weights, WEIGHTS), (answerability, ANSWERABILITY_HEAD)):
        contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
        save_file(contiguous, folder / file, metadata={"format": "pt"})
    save_beside_weights(trained, folder)
    (folder / "README.md").write_text(model_card(trained, name), encoding="utf-8")


def _question_answering_model(config: PretrainedConfig) -> PreTrainedModel:
    try:
        with torch.device("meta"):  # names alone, no memory
            model: PreTrainedModel = AutoModelForQuestionAnswering.from_config(  # type: ignore[no-untyped-call]
                config, trust_remote_code=False
            )
            return model
    except ValueError as error:
        raise InputError(
            where="save_pretrained",
            got=f"an encoder of type {config.model_type}",
            expected="one for which transformers has a question-answering model",
            remedy="Use the reader's own folder, which this project loads.",
        ) from error
