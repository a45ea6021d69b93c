"""Exports a reader to ONNX, if the model predicts the same, or in int8 about as well."""

import json
import logging
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from roberta_squad_pipeline.common.arrays import Float64Array
from roberta_squad_pipeline.common.errors import InputError, optional
from roberta_squad_pipeline.evaluation.scoring import (
    QuestionScores,
    report_of,
    score_questions,
    scores_in_order,
)
from roberta_squad_pipeline.features.config import Order, WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.prediction import Prediction, predict
from roberta_squad_pipeline.reader.batching import Batch
from roberta_squad_pipeline.reader.model import ReaderModel, ReaderOutput
from roberta_squad_pipeline.reader.onnx_reader import ONNX_INPUTS, ONNX_MODEL, OnnxReader
from roberta_squad_pipeline.reader.storage import TrainedReader, save_beside_weights

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

AGREEMENT = 1e-3
"""The largest allowed difference of a best span's score or a no-answer score."""
MOST_F1_LOST = 0.5
"""The largest allowed loss of dev F1 in int8, in points."""
_MATRIX = 2
"""Dimensions."""

_WINDOWS, _TOKENS = 2, 8  # for tracing; any other numbers will do
_OPSET = 23
"""The first with attention and GELU as operators, which onnxruntime computes without keeping each
step of them in memory (benchmarks/results/onnx_cpu_2026-11-27.md)."""


class _OnTensors(nn.Module):
    """A reader with the inputs of ONNX: padded windows, with their mask as numbers."""

    def __init__(self, reader: ReaderModel, order: Order) -> None:
        super().__init__()
        self.reader = reader
        self.order = order

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Any:
        none = input_ids[:, 0]
        mask = attention_mask.bool()
        labels = (none, none, none, none)
        batch = Batch(input_ids, mask, token_type_ids, *labels, order=self.order)
        return tuple(self.reader(batch))


def export_onnx(
    trained: TrainedReader,
    features: Features,
    folder: Path,
    *,
    gold: Mapping[str, Sequence[str]] | None,
    tuned_on_them: bool,
) -> dict[str, Any]:
    """Writes a folder for `load_reader` with a checked ONNX model and the reader's other files.

    Args:
        trained: The reader.
        features: The dev questions.
        folder: An empty folder.
        gold: The texts of their gold answers by question id, to check a model in int8; None for a
            model in fp32.
        tuned_on_them: Whether the reader's threshold was chosen on these questions. Then a model in
            int8 gets its own.

    Returns:
        The content of export.json: precision, number of questions, bytes of the fp32 and the int8
        model, the largest difference of two scores in fp32, and the result of `compare_scores` for
        int8.

    Raises:
        InputError: The model's answers differ from the reader's or, in int8, are worse; or a
            library is not installed.
    """
    path = folder / ONNX_MODEL
    write_onnx(trained.in_torch, trained.header.windows, path)
    ours = _predictions(trained.in_torch, trained, features)
    record: dict[str, Any] = {
        "precision": "fp32",
        "questions": len(ours),
        "bytes": {"fp32": path.stat().st_size},
        "largest_difference": compare_predictions(
            ours, _predictions(OnnxReader(path), trained, features)
        ),
    }
    if gold is not None:
        quantise(path)
        theirs = _predictions(OnnxReader(path), trained, features)
        record["precision"] = "int8"
        record["bytes"]["int8"] = path.stat().st_size
        in_fp32, in_int8 = (_scored(trained, gold, each) for each in (ours, theirs))
        before = report_of(*in_fp32, trained.calibration.abstains_above)
        if tuned_on_them:
            trained = _with_threshold_of(*in_int8, trained)
        after = report_of(*in_int8, trained.calibration.abstains_above)
        record |= compare_scores(before, after) | {"abstains_above": trained.calibration.threshold}
    save_beside_weights(trained, folder)
    (folder / "export.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def write_onnx(reader: ReaderModel, windows: WindowConfig, path: Path) -> None:
    """Writes a reader as an ONNX model for any number of padded windows and of tokens.

    Inputs are input_ids, attention_mask (1 for tokens, 0 for padding) and token_type_ids, all of
    the shape (windows, tokens). Outputs are start_logits, end_logits and no_answer_logits. The
    file's metadata describe the windows.

    Args:
        reader: The reader.
        windows: How its windows are laid out.
        path: The file.

    Raises:
        InputError: A library is not installed.
    """
    with optional("export_onnx", "onnx"):
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    # The exporter logs each of its attempts.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    ids = torch.arange(_WINDOWS * _TOKENS).view(_WINDOWS, _TOKENS)
    mask = torch.ones_like(ids)
    mask[0, -1] = 0  # without padding, transformers would leave out the mask
    axes = {0: "windows", 1: "tokens"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.onnx.export(
            _OnTensors(reader.cpu().eval(), windows.order),
            (ids, mask, torch.zeros_like(ids)),
            input_names=ONNX_INPUTS,
            output_names=ReaderOutput._fields,
            dynamic_shapes=[axes, axes, axes],
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    layout = {f"windows.{name}": str(value) for name, value in windows.model_dump().items()}
    # It is None only without torch.export.
    program = cast(torch.onnx.ONNXProgram, exported)
    program.model.metadata_props.update(layout)
    program.save(path, external_data=False)


def quantise(path: Path) -> None:
    """Replaces a model in fp32 by one in int8.

    Weights of products have a scale per output channel, embeddings one per row. Activations are
    scaled at runtime, batch by batch.

    Args:
        path: A file written by `write_onnx`.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # Without it, the next call logs advice on the root logger.
    quant_pre_process(path, path, skip_symbolic_shape=True)
    # Processors without VNNI add two products in 16 bits, where extreme ones overflow. Weights of 7
    # bits would not, but cost a reader of real passages a point of F1.
    products = {"op_types_to_quantize": ["MatMul"], "weight_type": QuantType.QInt8}
    quantize_dynamic(path, path, per_channel=True, **products)
    model = onnx.load(path)
    _quantise_tables(model.graph)
    onnx.save(model, path)


def _quantise_tables(graph: "GraphProto") -> None:
    """Embeddings in int8, which onnxruntime would give one scale for the whole table."""
    from onnx import TensorProto, helper, numpy_helper

    matrices = {
        matrix.name: matrix
        for matrix in graph.initializer
        if len(matrix.dims) == _MATRIX and matrix.data_type == TensorProto.FLOAT
    }
    looked_up = [node for node in graph.node if node.op_type == "Gather" and not _axis_of(node)]
    # A table that anything else reads, too, stays as it is.
    read = Counter(name for node in graph.node for name in node.input)
    lookups = Counter(node.input[0] for node in looked_up)
    tables = {name for name in matrices.keys() & lookups if read[name] == lookups[name]}
    for name in tables:
        weights = numpy_helper.to_array(matrices[name])
        scales = np.maximum(np.abs(weights).max(1, keepdims=True), np.float32(1e-30)) / 127
        rounded = np.rint(weights / scales).astype(np.int8)
        graph.initializer.append(numpy_helper.from_array(rounded, f"{name}_int8"))
        graph.initializer.append(numpy_helper.from_array(scales, f"{name}_scales"))
        graph.initializer.remove(matrices[name])
    nodes = []
    for node in graph.node:
        if node.input and node.input[0] in tables:
            (table, ids), (rows,) = node.input, node.output
            nodes += [
                helper.make_node("Gather", [f"{table}_int8", ids], [f"{rows}_int8"]),
                helper.make_node("Cast", [f"{rows}_int8"], [f"{rows}_cast"], to=TensorProto.FLOAT),
                helper.make_node("Gather", [f"{table}_scales", ids], [f"{rows}_scales"]),
                helper.make_node("Mul", [f"{rows}_cast", f"{rows}_scales"], [rows]),
            ]
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _axis_of(gather: "NodeProto") -> int:
    return next((one.i for one in gather.attribute if one.name == "axis"), 0)


def compare_scores(
    reader: Mapping[str, float | int], int8: Mapping[str, float | int]
) -> dict[str, Any]:
    """Compares the F1 of predictions in int8 with that of the reader's own.

    Args:
        reader: What the official scorer says of the reader, at its threshold.
        int8: The same of the model in int8.

    Returns:
        `f1` and `best_f1`, each for the `reader` and for `int8`, with the `difference`, in points.

    Raises:
        InputError: More than `MOST_F1_LOST` is lost, at these thresholds or at the best ones.
    """
    scores = {
        name: {
            "reader": reader[name],
            "int8": int8[name],
            "difference": int8[name] - reader[name],
        }
        for name in ("f1", "best_f1")
    }
    if not all(score["difference"] >= -MOST_F1_LOST for score in scores.values()):
        raise InputError(
            where="export.int8",
            got=f"a dev F1 of {int8['f1']:.2f} in int8, and of {reader['f1']:.2f} in fp32, at the "
            f"thresholds of both (best F1 {int8['best_f1']:.2f} and {reader['best_f1']:.2f})",
            expected=f"a loss of at most {MOST_F1_LOST} points",
            remedy="The int8 model is not kept, and an earlier export stays as it was. Export in "
            "fp32: --params export.int8=false",
        )
    return scores


def compare_predictions(ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> float:
    """Compares ONNX's predictions with the reader's, both in fp32 on the CPU.

    Returns:
        The largest difference of two scores.

    Raises:
        InputError: An answer differs, or a score by more than `AGREEMENT`.
    """
    largest = 0.0
    for one, other in zip(ours, theirs, strict=True):
        mine, yours = one.candidates[0], other.candidates[0]
        apart = max(
            abs(mine.score - yours.score),
            abs(one.no_answer_logit - other.no_answer_logit),
            abs(one.span_no_answer_logit - other.span_no_answer_logit),
        )
        if (mine.char_start, mine.char_end) != (yours.char_start, yours.char_end) or (
            not apart <= AGREEMENT
        ):
            raise InputError(
                where=f"ONNX, question {one.question_id}",
                got=f"{yours.text!r} with scores that differ by {apart:.1e}",
                expected=f"{mine.text!r}, and scores that differ by at most {AGREEMENT}",
                remedy="The ONNX model is not kept. Use the reader itself.",
            )
        largest = max(largest, apart)
    return largest


def _predictions(
    reader: nn.Module | OnnxReader, trained: TrainedReader, features: Features
) -> list[Prediction]:
    config = trained.inference.model_copy(update={"precision": "fp32"})
    device = torch.device("cpu")
    return list(predict(reader, features, config, device=device, on_windows=lambda _: None))


def _scored(
    trained: TrainedReader, gold: Mapping[str, Sequence[str]], predictions: Sequence[Prediction]
) -> tuple[QuestionScores, Float64Array]:
    """What predictions score, and their no-answer scores, high = unanswerable."""
    texts = {one.question_id: one.candidates[0].text for one in predictions}
    odds = trained.no_answer_weights.scores(
        [one.no_answer_logit for one in predictions],
        [one.span_no_answer_logit for one in predictions],
    )
    scores = score_questions(gold, texts)
    of_question = dict(zip(texts, odds.tolist(), strict=True))
    return scores, scores_in_order(scores.ids, of_question)


def _with_threshold_of(
    scores: QuestionScores, odds: Float64Array, trained: TrainedReader
) -> TrainedReader:
    """The reader with the threshold that is best for other predictions, if its own was chosen."""
    calibration = trained.calibration
    if trained.evaluation is None or calibration.uncalibrated or calibration.threshold is None:
        return trained
    threshold = scores.best_threshold(scores.f1, odds).threshold
    above = odds[odds > threshold]
    if len(above):
        # The official threshold is a question's own score. In int8 this moves a little with what
        # is read beside the question, which must not decide about it.
        threshold = float(threshold + above.min()) / 2
    best = threshold if np.isfinite(threshold) else None
    calibration = calibration.model_copy(update={"threshold": best})
    evaluation = trained.evaluation.model_copy(update={"calibration": calibration})
    return replace(trained, evaluation=evaluation)
