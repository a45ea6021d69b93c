"""Exports a reader to ONNX."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline.common.files import written_atomically

if TYPE_CHECKING:
    from roberta_squad_pipeline.features.file import Features
    from roberta_squad_pipeline.reader.storage import TrainedReader
else:
    # Kedro resolves the hints of a node when it lists pipelines; torch must not be loaded then.
    TrainedReader = Features = Any

_logger = logging.getLogger(__name__)


def export_reader(trained: TrainedReader, features: Features, folder: Path) -> None:
    """Writes model.onnx, which is kept only if it predicts the same on the dev set.

    Raises:
        InputError: It does not, what it takes is not installed, or the features were made with
            another tokenizer or in another order.
    """
    from roberta_squad_pipeline.inference.onnx_export import check_onnx, write_onnx
    from roberta_squad_pipeline.reader.storage import check_features

    check_features(features, trained.header)
    with written_atomically(folder) as temp:
        temp.mkdir()
        write_onnx(trained.reader, trained.header.windows, temp / "model.onnx")
        apart = check_onnx(temp / "model.onnx", trained.reader, features, trained.inference)
    _logger.info(
        "%s: the same answers to %d questions, scores within %.1e",
        folder / "model.onnx",
        len(features.question_ids),
        apart,
    )
