"""Exports a reader to ONNX."""

import logging
from pathlib import Path

from roberta_squad_pipeline.common.files import written_atomically
from roberta_squad_pipeline.pipelines import Features, SquadFiles, TrainedReader
from roberta_squad_pipeline.runs.parameters import ExportConfig

_logger = logging.getLogger(__name__)


def export_reader(
    trained: TrainedReader,
    dev_features: Features,
    squad_files: SquadFiles,
    export: ExportConfig,
    onnx_folder: Path,
) -> None:
    """Writes a folder with model.onnx, which is kept only if it does equally well on the dev set.

    Raises:
        InputError: It does not (see `export_onnx`), a library is not installed, or the features
            were made with another tokenizer or in another order.
    """
    from roberta_squad_pipeline.inference.onnx_export import export_onnx
    from roberta_squad_pipeline.reader.storage import check_features
    from roberta_squad_pipeline.squad.dataset import read_gold

    check_features(dev_features, trained.header)
    gold = read_gold(Path(squad_files["dev"]["path"])) if export.int8 else None
    evaluation = trained.evaluation
    tuned_on_them = (
        evaluation is not None and evaluation.data_sha256 == squad_files["dev"]["sha256"]
    )
    with written_atomically(onnx_folder) as temp:
        temp.mkdir()
        record = export_onnx(trained, dev_features, temp, gold=gold, tuned_on_them=tuned_on_them)
    size = record["bytes"]
    _logger.info(
        "%s: %.1f MB in fp32, the same answers to %d questions, scores within %.1e",
        onnx_folder,
        size["fp32"] / 1e6,
        record["questions"],
        record["largest_difference"],
    )
    if export.int8:
        _logger.info(
            "int8: %.1f MB (%.0f %% of fp32), dev F1 %.2f instead of %.2f (%+.2f), best F1 %.2f "
            "instead of %.2f (%+.2f)",
            size["int8"] / 1e6,
            100 * size["int8"] / size["fp32"],
            *(
                record[score][which]
                for score in ("f1", "best_f1")
                for which in ("int8", "reader", "difference")
            ),
        )
