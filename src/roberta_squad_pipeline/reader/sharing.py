"""One reader in many processes."""

import json

from transformers import AutoConfig

from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.reader.model import ReaderModel, empty_reader


def share_reader(reader: ReaderModel | None, processes: Processes) -> ReaderModel:
    """Gives every process a reader like rank 0's, so that it alone needs the encoder's files.

    Args:
        reader: On rank 0; the others give None.
        processes: Each has to call it.

    Returns:
        A reader on the process's device.
    """
    told = b""
    if reader is not None:
        described = {"encoder": reader.encoder.config.to_dict(), "dropout": reader.dropout}
        told = json.dumps(described).encode()
    # The others build an empty reader of the same shapes, for the weights to be broadcast into.
    described = json.loads(processes.broadcast_bytes(told))
    if reader is None:
        config = AutoConfig.for_model(**described["encoder"])
        reader = empty_reader(config, described["dropout"])
    reader.to(processes.device)
    # In the order of the state dict, which is the same for the same encoder.
    for tensor in reader.state_dict().values():
        processes.broadcast(tensor)
    return reader
