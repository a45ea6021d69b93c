"""The weights of a reader by the names of transformers' question-answering models.

Those models have an encoder and a linear layer `qa_outputs` on every token, as ours. They have no
answerability head, which is saved in a file of its own.
"""

from torch import Tensor
from transformers import PreTrainedModel

from roberta_squad_pipeline.common.errors import InputError

ANSWERABILITY_HEAD = "answerability_head.safetensors"
"""Name of the file beside the weights."""

_ENCODER, _SPAN_HEAD, _ANSWERABILITY = "encoder.", "span_head.", "answerability_head."
_QA_OUTPUTS = "qa_outputs."

Weights = dict[str, Tensor]


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
