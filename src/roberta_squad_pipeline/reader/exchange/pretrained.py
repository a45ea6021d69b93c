"""A reader in the layout of transformers' question-answering models, with a model card.

Those models have an encoder and a linear layer `qa_outputs` on every token, as ours. They have no
answerability head, which is saved in a file of its own.
"""

import copy
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForQuestionAnswering, PretrainedConfig, PreTrainedModel

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.reader.exchange.model_card import model_card
from roberta_squad_pipeline.reader.storage import (
    ANSWERABILITY_HEAD,
    WEIGHTS,
    TrainedReader,
    save_beside_weights,
)

_ENCODER, _SPAN_HEAD, _ANSWERABILITY = "encoder.", "span_head.", "answerability_head."
_QA_OUTPUTS = "qa_outputs."

Weights = dict[str, Tensor]


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


def to_question_answering(weights: Weights, model: PreTrainedModel) -> tuple[Weights, Weights]:
    """Renames a reader's weights.

    Args:
        weights: Weights by the reader's own names.
        model: transformers' question-answering model of its encoder.

    Returns:
        The weights of that model, and those of the answerability head.

    Raises:
        InputError: The model has other layers between encoder and logits.
    """
    prefix = f"{model.base_model_prefix}."
    renamed = {
        name.replace(_ENCODER, prefix, 1).replace(_SPAN_HEAD, _QA_OUTPUTS, 1): tensor
        for name, tensor in weights.items()
        if not name.startswith(_ANSWERABILITY)
    }
    if renamed.keys() != model.state_dict().keys():
        different = sorted(renamed.keys() ^ model.state_dict().keys())[0]
        raise InputError(
            where="save_pretrained",
            got=f"{type(model).__name__} of transformers, which differs in {different}",
            expected="an encoder and one linear layer, qa_outputs",
            remedy="Use the reader's own folder, which this project loads.",
        )
    return renamed, {
        name.removeprefix(_ANSWERABILITY): tensor
        for name, tensor in weights.items()
        if name.startswith(_ANSWERABILITY)
    }


def from_question_answering(weights: Weights, answerability_head: Weights) -> Weights:
    """Undoes `to_question_answering`."""
    own = {}
    for name, tensor in weights.items():
        if name.startswith(_QA_OUTPUTS):
            own[name.replace(_QA_OUTPUTS, _SPAN_HEAD, 1)] = tensor
        else:
            own[_ENCODER + name.partition(".")[2]] = tensor
    return own | {_ANSWERABILITY + name: tensor for name, tensor in answerability_head.items()}


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
