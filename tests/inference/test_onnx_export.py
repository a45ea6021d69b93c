"""ONNX models of readers.

Oracle: the reader itself on the same questions.
"""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto

from roberta_squad_pipeline import Reader
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference import onnx_export
from roberta_squad_pipeline.inference.answering import Answer
from roberta_squad_pipeline.inference.onnx_export import AGREEMENT, compare_predictions
from roberta_squad_pipeline.inference.prediction import Prediction
from roberta_squad_pipeline.pipelines.export_onnx.nodes import export_reader
from roberta_squad_pipeline.reader.storage import TrainedReader, load_reader
from roberta_squad_pipeline.runs.parameters import ExportConfig
from roberta_squad_pipeline.squad.dataset import SquadDataset

pytestmark = pytest.mark.usefixtures("one_thread")

FP32, INT8 = ExportConfig(int8=False), ExportConfig(int8=True)


def asked(squad: SquadDataset) -> list[tuple[str, str]]:
    return [(one.text, passage.text) for passage in squad.passages for one in passage.questions]


def test_exported_reader_is_kept_if_it_predicts_the_same(
    evaluated: TrainedReader,
    tiny_features: Features,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Windows of any number and length; one whose weights changed after the export is not kept."""
    folder = tmp_path / "onnx"
    export_reader(evaluated, tiny_features, {}, FP32, folder)
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
        export_reader(evaluated, tiny_features, {}, FP32, folder)
    assert (folder / "model.onnx").read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["onnx"]


def test_exported_folder_loads_and_answers_as_the_reader_does(
    evaluated: TrainedReader, tiny_features: Features, tiny_squad: SquadDataset, tmp_path: Path
) -> None:
    folder = tmp_path / "onnx"
    export_reader(evaluated, tiny_features, {}, FP32, folder)
    loaded, questions = Reader.load(folder), asked(tiny_squad)
    for ours, theirs in zip(
        Reader(evaluated).answer_all(questions), loaded.answer_all(questions), strict=True
    ):
        assert (theirs.text, theirs.best.text) == (ours.text, ours.best.text)
        assert theirs.best.char_start == ours.best.char_start
        assert theirs.best.score == pytest.approx(ours.best.score, abs=AGREEMENT)
        assert theirs.no_answer_probability == pytest.approx(ours.no_answer_probability, abs=1e-3)
    with pytest.raises(InputError, match="exported to ONNX"):
        loaded.save_pretrained(tmp_path / "pretrained")
    (folder / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(InputError, match="Export it again"):
        load_reader(folder)


def questions_that_it_answers_right(
    trained: TrainedReader, squad: SquadDataset, path: Path
) -> dict[str, Any]:
    """The record of a dev file in which a reader is right whatever it says."""
    answers = iter(Reader(trained).answer_all(asked(squad)))

    def gold(found: Answer) -> list[dict[str, Any]]:
        best = found.best
        return [] if found.text is None else [{"text": best.text, "answer_start": best.char_start}]

    articles = [
        {
            "title": "",
            "paragraphs": [
                {
                    "context": passage.text,
                    "qas": [
                        {"id": one.id, "question": one.text, "answers": gold(next(answers))}
                        for one in passage.questions
                    ],
                }
            ],
        }
        for passage in squad.passages
    ]
    path.write_text(json.dumps({"version": "v2.0", "data": articles}), encoding="utf-8")
    return {"dev": {"path": str(path)}}


def with_an_outlier(trained: TrainedReader) -> None:
    """Makes one of the last layer's outputs a thousand times as large, and its weights as small.

    In fp32 nothing changes by it; 8 bits that span such a range have nothing left for the others.
    """
    reader = trained.reader
    norm = reader.encoder.encoder.layer[-1].output.LayerNorm
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias):
            tensor[0] *= 1000
        for head in (reader.span_head, reader.answerability_head[0]):
            head.weight[:, 0] /= 1000


def test_int8_is_kept_unless_its_f1_falls(
    evaluated: TrainedReader, tiny_features: Features, tiny_squad: SquadDataset, tmp_path: Path
) -> None:
    """Oracle: the reader's own answers, and weights of which 8 bits are known to be too few."""
    files = questions_that_it_answers_right(evaluated, tiny_squad, tmp_path / "dev.json")
    folder = tmp_path / "onnx"
    export_reader(evaluated, tiny_features, files, INT8, folder)
    record = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    model = onnx.load(folder / "model.onnx")
    matrices = [one.name for one in model.graph.initializer if len(one.dims) == 2]
    assert matrices
    assert [
        one.name
        for one in model.graph.initializer
        if one.data_type == TensorProto.FLOAT and len(one.dims) == 2
    ] == []
    assert record["precision"] == "int8"
    assert record["bytes"]["int8"] == (folder / "model.onnx").stat().st_size
    assert record["f1"] == {"reader": 100.0, "int8": 100.0, "difference": 0.0}
    loaded = Reader.load(folder).answer_all(asked(tiny_squad))
    ours = Reader(evaluated).answer_all(asked(tiny_squad))
    assert [one.text for one in loaded] == [one.text for one in ours]

    kept = (folder / "model.onnx").read_bytes()
    with_an_outlier(evaluated)
    with pytest.raises(InputError, match=r"in int8, and of 100\.00 in fp32"):
        export_reader(evaluated, tiny_features, files, INT8, folder)
    assert (folder / "model.onnx").read_bytes() == kept
    export_reader(evaluated, tiny_features, files, FP32, folder)


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
