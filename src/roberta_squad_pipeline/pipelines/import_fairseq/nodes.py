"""Converts fairseq checkpoints to this project's formats."""

import logging
from pathlib import Path

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import sha256_of, written_atomically
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.reader.config import InferenceParameters, ModelConfig
from roberta_squad_pipeline.tracking.fetching import tokenizer_of

_logger = logging.getLogger(__name__)


def import_checkpoint(
    checkpoint: str | None,
    model: ModelConfig,
    windows: WindowConfig,
    inference: InferenceParameters,
    imported: Path,
) -> None:
    """Converts a checkpoint with both heads to a reader, and one without heads to an encoder.

    The tokenizer is that of `model.encoder` or `model.start`: a checkpoint does not carry its own.

    Raises:
        InputError: The checkpoint is missing, malicious or of another model, its vocabulary is not
            that of the tokenizer, or the folder exists already.
    """
    from roberta_squad_pipeline.reader.device import resolved_here
    from roberta_squad_pipeline.reader.exchange.fairseq import read_fairseq
    from roberta_squad_pipeline.reader.model import ReaderModel, check_reach
    from roberta_squad_pipeline.reader.storage import ReaderHeader, TrainedReader, save_reader

    if checkpoint is None:
        raise InputError(
            where="parameter checkpoint",
            got="nothing",
            expected="the path of a fairseq checkpoint, model.pt",
            remedy="Give it: --params checkpoint=PATH,run=NAME",
        )
    path = Path(checkpoint)
    if imported.exists():
        raise InputError(
            where=str(imported),
            got="a folder that exists already",
            expected="a new folder for the import",
            remedy="Give another name: --params run=NAME",
        )
    tokenizer = tokenizer_of(model, windows)
    read = read_fairseq(path)
    config = read.encoder.config
    entries = tokenizer.identity.entries
    if entries != config.vocab_size:
        raise InputError(
            where=checkpoint,
            got=f"a vocabulary of {config.vocab_size} entries",
            expected=f"{entries}, as in the tokenizer of {model.source_parameter}",
            remedy="Name an encoder with the checkpoint's tokenizer: "
            "--params model.encoder=FacebookAI/roberta-large",
        )
    if not read.heads:
        with written_atomically(imported) as temp:
            read.encoder.save_pretrained(temp)
            tokenizer.pretrained.save_pretrained(temp)
        _logger.info("an encoder without heads: train it with --params model.encoder=%s", imported)
        return
    check_reach(config, checkpoint, windows.max_tokens)
    header = ReaderHeader(
        tokenizer=tokenizer.identity,
        windows=windows,
        inference=resolved_here(inference),
        dropout=model.dropout,
        answerability_input="first_token",  # as the published series trained it
        recipe={"fairseq": {"checkpoint": path.name, "sha256": sha256_of(path)}},
    )
    reader = ReaderModel(read.encoder, model.dropout, header.answerability_input)
    reader.load_state_dict(read.heads, strict=False)  # the encoder has its weights
    with written_atomically(imported) as temp:
        save_reader(TrainedReader(reader, tokenizer, header), temp)
    _logger.info("a reader: kedro ask --run %s", imported.name)
