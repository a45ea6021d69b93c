"""ONNX models of readers.

Oracle: the reader itself on the same questions.
"""

import json
import math
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from losses import SERIES
from roberta_squad_pipeline import Reader
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.torch_setup import available_cores
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference import onnx_export
from roberta_squad_pipeline.inference.answering import Answer
from roberta_squad_pipeline.inference.onnx_export import AGREEMENT, compare_predictions
from roberta_squad_pipeline.inference.prediction import Candidate, Prediction
from roberta_squad_pipeline.pipelines.export_onnx.nodes import export_reader
from roberta_squad_pipeline.reader import onnx_reader
from roberta_squad_pipeline.reader.batching import assemble
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.reader.storage import TrainedReader
from roberta_squad_pipeline.runs.parameters import ExportConfig
from roberta_squad_pipeline.squad.dataset import SquadDataset
from roberta_squad_pipeline.training.loss import summed_loss

pytestmark = pytest.mark.usefixtures("one_thread")

Files = dict[str, dict[str, str]]
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # so that its import fails
from roberta_squad_pipeline import Reader
import json
answers = Reader.load(sys.argv[1]).answer_all(json.load(sys.stdin))
print(json.dumps([(one.text, one.best.score, one.no_answer_score) for one in answers]))
"""

CORES = available_cores()
FP32, INT8 = ExportConfig(int8=False), ExportConfig(int8=True)


@pytest.fixture
def dev_file(tiny_squad: SquadDataset, tmp_path: Path) -> Files:
    """The record of a file with the questions of `tiny_squad`."""
    paragraphs = [
        {
            "context": passage.text,
            "qas": [
                {
                    "id": one.id,
                    "question": one.text,
                    "answers": [{"text": a.text, "answer_start": a.start} for a in one.answers],
                }
                for one in passage.questions
            ],
        }
        for passage in tiny_squad.passages
    ]
    content = {"version": "v2.0", "data": [{"title": "", "paragraphs": paragraphs}]}
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return {"dev": {"path": str(path), "sha256": "0" * 64}}


def learn(reader: ReaderModel, features: Features) -> None:
    """Until the reader knows the answers by heart."""
    batch = assemble(features, np.arange(len(features.windows.question)))
    optimizer = torch.optim.Adam(reader.parameters(), lr=1e-3)
    for _ in range(100):
        optimizer.zero_grad()
        summed_loss(reader(batch), batch, SERIES).backward()
        optimizer.step()


def add_outlier(reader: ReaderModel) -> None:
    """Makes one of the last layer's outputs a thousand times as large, and its weights as small.

    In fp32 nothing changes by it; of 8 bits that span such a range the others get none.
    """
    norm = reader.encoder.encoder.layer[-1].output.LayerNorm
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias):
            tensor[0] *= 1000
        for layer in (reader.span_head, reader.answerability_head[0]):
            layer.weight[:, 0] /= 1000


@pytest.mark.parametrize("encoder_folder", ["bert"], indirect=True)
def test_exported_reader_is_kept_if_it_predicts_the_same(
    evaluated: TrainedReader,
    tiny_features: Features,
    tiny_squad: SquadDataset,
    dev_file: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Windows of any number and length; in int8, too; one of other weights is not kept.

    A RoBERTa is exported below, and in end_to_end/test_reader.py.
    Its answerability head looks at the question, so that the model needs all of its inputs.
    """
    evaluated.reader.answerability_input = "question"
    learn(evaluated.reader, tiny_features)
    folder = tmp_path / "onnx"
    export_reader(evaluated, tiny_features, dev_file, FP32, folder)
    kept = (folder / "model.onnx").read_bytes()
    model = onnx.load_from_string(kept)
    layout = {one.key: one.value for one in model.metadata_props}
    assert layout["windows.order"] == evaluated.header.windows.order
    inputs = model.graph.input
    assert [value.name for value in inputs] == ["input_ids", "attention_mask", "token_type_ids"]
    for value in inputs:
        axes = [axis.dim_param for axis in value.type.tensor_type.shape.dim]
        assert axes == ["windows", "tokens"]
    check_loaded(folder, evaluated, tiny_squad)
    in_16_bits = shutil.copytree(folder, tmp_path / "in_16_bits")
    for name in ("reader.json", "evaluation.json"):
        told = json.loads((folder / name).read_text(encoding="utf-8"))
        told["inference"]["precision"] = "bf16"
        (in_16_bits / name).write_text(json.dumps(told), encoding="utf-8")
    check_loaded(in_16_bits, evaluated, tiny_squad)

    def export_the_same(reader: ReaderModel, windows: WindowConfig, path: Path) -> None:
        path.write_bytes(kept)

    monkeypatch.setattr(onnx_export, "write_onnx", export_the_same)
    caplog.set_level("INFO", "roberta_squad_pipeline")
    export_reader(evaluated, tiny_features, dev_file, INT8, tmp_path / "int8")
    assert "dev F1 100.00 instead of 100.00 (+0.00)" in caplog.text
    check_int8(tmp_path / "int8", tiny_squad, fp32_bytes=len(kept))

    with torch.no_grad():
        evaluated.reader.span_head.bias.add_(torch.tensor([0.0, 1.0]))
    with pytest.raises(InputError, match="The ONNX model is not kept"):
        export_reader(evaluated, tiny_features, dev_file, FP32, folder)
    assert (folder / "model.onnx").read_bytes() == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dev.json",
        "in_16_bits",
        "int8",
        "onnx",
    ]

    (folder / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(InputError, match="Export it again"):
        Reader.load(folder)


def check_loaded(folder: Path, evaluated: TrainedReader, squad: SquadDataset) -> None:
    """The folder answers as the reader does, and gives out no weights."""
    asked = [(one.text, passage.text) for passage in squad.passages for one in passage.questions]
    loaded = Reader.load(folder)
    answers = loaded.answer_all(asked)
    check_without_torch(folder, asked, answers)
    for ours, theirs in zip(Reader(evaluated).answer_all(asked), answers, strict=True):
        assert theirs.text == ours.text
        assert (theirs.best.char_start, theirs.best.text) == (ours.best.char_start, ours.best.text)
        assert theirs.best.score == pytest.approx(ours.best.score, abs=AGREEMENT)
        assert theirs.no_answer_score == pytest.approx(ours.no_answer_score, abs=AGREEMENT)
    with pytest.raises(InputError, match="exported to ONNX"):
        loaded.save_pretrained(folder.with_name("pretrained"))


def check_without_torch(folder: Path, asked: list[tuple[str, str]], expected: list[Answer]) -> None:
    """Where torch cannot be imported, and in two threads, the folder answers the same."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, folder],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr
    scores = [[one.text, one.best.score, one.no_answer_score] for one in expected]
    assert json.loads(done.stdout) == scores


def check_int8(folder: Path, squad: SquadDataset, *, fp32_bytes: int) -> None:
    """Hardly a matrix is left in fp32, and questions that the reader knows are answered."""
    model = onnx.load(folder / "model.onnx")
    assert "windows.order" in {one.key for one in model.metadata_props}
    values: Counter[int] = Counter()
    for one in model.graph.initializer:
        if len(one.dims) == 2:
            values[one.data_type] += math.prod(one.dims)
    # The answerability head, and the scales of embeddings' rows.
    assert values[TensorProto.FLOAT] < 0.05 * values[TensorProto.INT8]
    size = (folder / "model.onnx").stat().st_size
    assert size < 0.3 * fp32_bytes
    record = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    assert record["precision"] == "int8"
    assert record["bytes"] == {"fp32": fp32_bytes, "int8": size}
    assert record["f1"] == {"reader": 100.0, "int8": 100.0, "difference": 0.0}
    assert record["best_f1"]["difference"] == 0
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["calibration"]["threshold"] == record["abstains_above"]
    answer = Reader.load(folder).answer("When was it built?", squad.passages[1].text)
    assert answer.text == "1889"


@pytest.mark.parametrize("encoder_folder", ["roberta"], indirect=True)
def test_int8_is_refused_where_f1_falls(
    evaluated: TrainedReader, tiny_features: Features, dev_file: Files, tmp_path: Path
) -> None:
    """Oracle: weights for which 8 bits are known to be too few, and 32 are not."""
    learn(evaluated.reader, tiny_features)
    add_outlier(evaluated.reader)
    earlier = tmp_path / "onnx/model.onnx"
    earlier.parent.mkdir()
    earlier.write_bytes(b"earlier")
    with pytest.raises(InputError, match=r"F1 of \d+\.\d+ in int8, and of 100\.00 in fp32"):
        export_reader(evaluated, tiny_features, dev_file, INT8, earlier.parent)
    assert list(earlier.parent.iterdir()) == [earlier]
    assert earlier.read_bytes() == b"earlier"


@pytest.mark.parametrize(
    ("given", "threads", "warned"),
    [("3", 3, False), (" 2, 4", 2, False), ("", CORES, False)]
    + [(other, CORES, True) for other in ("many", "0", "-1", "1.5")],
)
def test_a_number_of_threads_that_is_none_is_ignored(
    given: str,
    threads: int,
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Oracle: what OpenMP takes for a number of threads, and ignores otherwise."""
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert onnx_reader._threads() == threads
    said = f"OMP_NUM_THREADS={given} is ignored, since it is not a number of threads"
    assert (said in caplog.text) == warned


def prediction(start: int, score: float, no_answer: float) -> Prediction:
    return Prediction("q", no_answer, 0.0, (Candidate("a", start, start + 1, score),))


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


@pytest.mark.parametrize("also_a_product", [False, True])
def test_a_table_that_several_read_in_int8(also_a_product: bool, tmp_path: Path) -> None:
    """Oracle: the same graph in fp32, within half a step of each row's 127.

    A table that a product reads, too, as tied weights are, stays in fp32.
    """
    table = np.array([[1, -2, 0.5], [100, 3, -7], [0, 0, 0]], np.float32)
    nodes = [helper.make_node("Gather", ["table", ids], [f"rows_{ids}"]) for ids in ("a", "b")]
    nodes.append(helper.make_node("Add", ["rows_a", "rows_b"], ["sum"]))
    if also_a_product:
        nodes.append(helper.make_node("Gemm", ["sum", "table"], ["out"], transB=1))
    of_ids = [helper.make_tensor_value_info(ids, TensorProto.INT64, ["n"]) for ids in ("a", "b")]
    out = "out" if also_a_product else "sum"
    graph = helper.make_graph(
        nodes,
        "lookups",
        of_ids,
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    ids = {"a": np.array([0, 1, 2]), "b": np.array([2, 2, 1])}

    def run() -> np.ndarray:
        session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        found: np.ndarray = session.run(None, ids)[0]
        return found

    expected = run()
    onnx_export._quantise_tables(model.graph)
    assert ("table_int8" in {one.name for one in model.graph.initializer}) is not also_a_product
    step = np.abs(table).max(1) / 127
    allowed = (step[ids["a"]] + step[ids["b"]])[:, None] / 2 + 1e-6
    assert (np.abs(run() - expected) <= (0 if also_a_product else allowed)).all()
