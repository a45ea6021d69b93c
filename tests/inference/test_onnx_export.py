"""ONNX models of readers.

Oracle: the reader itself on the same questions.
"""

from pathlib import Path

import onnx
import pytest
import torch

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference import onnx_export
from roberta_squad_pipeline.inference.onnx_export import AGREEMENT, compare_predictions
from roberta_squad_pipeline.inference.prediction import Prediction
from roberta_squad_pipeline.pipelines.export_onnx.nodes import export_reader
from roberta_squad_pipeline.reader.storage import TrainedReader

pytestmark = pytest.mark.usefixtures("one_thread")


def test_exported_reader_is_kept_if_it_predicts_the_same(
    evaluated: TrainedReader,
    tiny_features: Features,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Windows of any number and length; one whose weights changed after the export is not kept."""
    folder = tmp_path / "onnx"
    export_reader(evaluated, tiny_features, folder)
    kept = (folder / "model.onnx").read_bytes()
    model = onnx.load_from_string(kept)
    layout = {one.key: one.value for one in model.metadata_props}
    assert layout["windows.order"] == evaluated.header.windows.order
    inputs = model.graph.input
    assert [value.name for value in inputs] == ["input_ids", "attention_mask", "token_type_ids"]
    for value in inputs:
        axes = [axis.dim_param for axis in value.type.tensor_type.shape.dim]
        assert axes == ["windows", "tokens"]

    def export_another(reader: torch.nn.Module, windows: WindowConfig, path: Path) -> None:
        path.write_bytes(kept)
        with torch.no_grad():
            evaluated.reader.span_head.bias.add_(torch.tensor([0.0, 1.0]))

    monkeypatch.setattr(onnx_export, "write_onnx", export_another)
    with pytest.raises(InputError, match="The ONNX model is not kept"):
        export_reader(evaluated, tiny_features, folder)
    assert (folder / "model.onnx").read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["onnx"]


def prediction(start: int, score: float, no_answer: float) -> Prediction:
    return Prediction("q", no_answer, 0.0, ["a"], [start], [start + 1], [score])


@pytest.mark.parametrize(
    ("theirs", "same"),
    [
        (prediction(3, 2.0005, -1), True),
        (prediction(3, 2, -1.0005), True),
        (prediction(4, 2, -1), False),  # the same text elsewhere
        (prediction(3, 2 + 2 * AGREEMENT, -1), False),
        (prediction(3, 2, -1 - 2 * AGREEMENT), False),
        (prediction(3, float("nan"), -1), False),
    ],
)
def test_what_counts_as_the_same(theirs: Prediction, same: bool) -> None:
    ours = [prediction(3, 2, -1)]
    if same:
        assert compare_predictions(ours, [theirs]) == pytest.approx(0.0005)
    else:
        with pytest.raises(InputError, match="question q"):
            compare_predictions(ours, [theirs])
