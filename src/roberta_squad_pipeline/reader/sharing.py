"""Copies a reader to all processes."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import AutoConfig

from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.reader.model import ReaderModel, empty_reader
from roberta_squad_pipeline.reader.storage import (
    MEMBERS,
    WEIGHTS,
    TrainedReader,
    load_beside_weights,
    load_ensemble,
    load_header,
    load_reader,
)


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


def share_trained(folder: Path, processes: Processes) -> TrainedReader:
    """Gives every process the reader of a folder, with tokenizer and tuning.

    Args:
        folder: The folder; only rank 0 needs to have it.
        processes: All of them have to call it.

    Returns:
        The reader on the process's device.
    """
    files = [path for path in folder.iterdir() if path.is_file()] if processes.first else []
    beside = [path.name for path in files if path.suffix != Path(WEIGHTS).suffix]
    names = json.loads(processes.broadcast_bytes(json.dumps(beside).encode()))
    with TemporaryDirectory() as temp:
        for name in names:
            content = processes.broadcast_bytes((folder / name).read_bytes() if files else None)
            (Path(temp) / name).write_bytes(content)
        if names := load_header(Path(temp)).members:
            shared = (share_trained(folder / MEMBERS / name, processes) for name in names)
            return load_ensemble(tuple(shared), Path(temp))
        alone = load_reader(folder).in_torch if processes.first else None
        return load_beside_weights(share_reader(alone, processes), Path(temp))
