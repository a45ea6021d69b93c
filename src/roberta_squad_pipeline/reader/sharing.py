"""Copies a reader to all processes."""

import json

from transformers import AutoConfig

from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.reader.model import ReaderModel, empty_reader


def share_reader(reader: ReaderModel | None, processes: Processes) -> ReaderModel:
    """Gives every process rank 0's reader, so that only rank 0 needs the encoder's files.

    Args:
        reader: The reader on rank 0; other ranks pass None.
        processes: All of them have to call it.

    Returns:
        The reader on the process's device.
    """
    told = b""
    if reader is not None:
        described = {
            "encoder": reader.encoder.config.to_dict(),
            "dropout": reader.dropout,
            "answerability_input": reader.answerability_input,
        }
        told = json.dumps(described).encode()
    # Other ranks build a reader of the same shape, to receive the weights.
    described = json.loads(processes.broadcast_bytes(told))
    if reader is None:
        config = AutoConfig.for_model(**described.pop("encoder"))
        reader = empty_reader(config, **described)
    reader.to(processes.device)
    # In the order of the state dict, which is the same on all ranks.
    for tensor in reader.state_dict().values():
        processes.broadcast(tensor)
    return reader
