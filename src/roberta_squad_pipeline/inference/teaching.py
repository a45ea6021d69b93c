"""Computes a teacher's logits for a student's training windows, once, and keeps them."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from roberta_squad_pipeline.common.arrays import IndexArray, IntArray
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.progress import progress
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.features.build import features_in_file
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.teacher import TeacherLogits, TeacherMeta
from roberta_squad_pipeline.features.tokens import Ragged
from roberta_squad_pipeline.features.windows import NO_ANSWER_POSITION
from roberta_squad_pipeline.inference.prediction import not_finite, read_windows
from roberta_squad_pipeline.reader.config import InferenceConfig
from roberta_squad_pipeline.reader.device import available_device
from roberta_squad_pipeline.reader.model import ReaderOutput
from roberta_squad_pipeline.reader.storage import TrainedReader
from roberta_squad_pipeline.squad.dataset import Passage

_LEAST = 1e-9
"""The least probability of a token, so that its logarithm is finite."""

_logger = logging.getLogger(__name__)


def taught_by(
    teacher: TrainedReader,
    features: Features,
    passages: Callable[[], Iterable[Passage]],
    *,
    meta: TeacherMeta,
    path: Path,
    config: InferenceConfig,
) -> TeacherLogits:
    """Computes a teacher's logits for every window, or takes those of an earlier run.

    If the teacher has other tokens, or windows of the other order, each of its tokens gives its
    probability to the window's token with the same character.

    Args:
        teacher: The teacher; it is moved to the device that is there.
        features: The windows.
        passages: Reads the passages that they were built from, with their questions.
        meta: What the logits are made from.
        path: The file for the logits.
        config: How windows are read.

    Raises:
        InputError: The teacher's logits are not finite, or it was exported to ONNX.
    """
    if path.exists() and (kept := TeacherLogits.open(path)).meta == meta:
        _logger.info("the teacher's logits are there already: %s", path)
        return kept
    found = [_said_by(part, features, passages, meta, config) for part in teacher.parts]
    logits = found[0] if len(found) == 1 else _mean(found)
    logits.save(path)
    return logits


def _said_by(
    part: TrainedReader,
    features: Features,
    passages: Callable[[], Iterable[Passage]],
    meta: TeacherMeta,
    config: InferenceConfig,
) -> TeacherLogits:
    header = part.header
    same_tokens = header.tokenizer.sha256 == features.meta.tokenizer.sha256
    if same_tokens and header.windows.order == features.meta.windows.order:
        return _read(part, features, meta, config)
    with TemporaryDirectory() as folder:
        build = part.builds("distil.teacher", features.meta.data_sha256)
        own = features_in_file(passages(), Path(folder) / "teacher.arrow", build)
        return projected(_read(part, own, meta, config), own, features)


def _read(
    teacher: TrainedReader, features: Features, meta: TeacherMeta, config: InferenceConfig
) -> TeacherLogits:
    logits = TeacherLogits.empty(meta, features.window_tokens)

    def keep(indices: IndexArray, output: ReaderOutput) -> None:
        for kept, found in ((logits.start, output.start_logits), (logits.end, output.end_logits)):
            rows = found.float().log_softmax(-1).cpu().numpy()
            for index, row in zip(indices.tolist(), rows, strict=True):
                kept[index][:] = row[: kept.lengths[index]]
        logits.no_answer[indices] = output.no_answer_logits.float().cpu().numpy()

    with progress("teacher", len(features.window_tokens), "windows") as advance:
        read_windows(
            teacher.module,
            features,
            config,
            processes=Processes.alone(available_device()),
            use=keep,
            on_batch=lambda batch, _: advance(len(batch.start)),
        )
    values = (logits.start.values, logits.end.values, logits.no_answer)
    if not all(np.isfinite(each).all() for each in values):
        raise not_finite("distil.teacher", "teacher")
    return logits


def projected(logits: TeacherLogits, theirs: Features, mine: Features) -> TeacherLogits:
    """Projects logits for a teacher's own windows to other windows of the same questions.

    Each window takes the logits of the teacher's window with which it shares most characters. The
    probability of a start goes to the first token with the character, that of an end to the last.
    What is outside of the passage or of the window goes to ``<s>``.

    Args:
        logits: Logits for the teacher's windows.
        theirs: The teacher's windows.
        mine: The other windows.
    """
    found = TeacherLogits.empty(logits.meta, mine.window_tokens)
    for window, other in enumerate(_nearest(theirs, mine).tolist()):
        starts, ends = (each[_passage(mine, window)] for each in _characters(mine))
        of_window = slice(theirs.windows.first[other], None)
        count = int(theirs.windows.count[other])
        their_starts, their_ends = (
            each[_passage(theirs, other)][of_window][:count] for each in _characters(theirs)
        )
        begin = int(theirs.passage_position[other])
        for kept, said, token in (
            (found.start, logits.start, np.searchsorted(ends, their_starts, "right")),
            (found.end, logits.end, np.searchsorted(starts, their_ends - 1, "right") - 1),
        ):
            share = np.exp(said[other].astype(np.float64))
            in_window = token - mine.windows.first[window]
            inside = (in_window >= 0) & (in_window < mine.windows.count[window])
            position = np.where(
                inside, in_window + mine.passage_position[window], NO_ANSWER_POSITION
            )
            mass = np.zeros(kept.lengths[window])
            np.add.at(mass, position, share[begin : begin + count])
            mass[NO_ANSWER_POSITION] += share[:begin].sum() + share[begin + count :].sum()
            kept[window][:] = np.log(np.maximum(mass / mass.sum(), _LEAST))
        found.no_answer[window] = logits.no_answer[other]
    return found


def _nearest(theirs: Features, mine: Features) -> IndexArray:
    """The teacher's window that shares most characters with each window. Shape: (windows,)."""
    if not theirs.question_ids.equals(mine.question_ids):
        raise InputError(
            where="training features",
            got="other questions than those in the training file now",
            expected="features that were built from it",
            remedy="Build them again: kedro run --pipeline features, with the same --params.",
        )
    (begin, end), (their_begin, their_end) = _extents(mine), _extents(theirs)
    first = np.searchsorted(theirs.windows.question, np.arange(len(mine.question_ids) + 1))
    nearest = first[mine.windows.question]
    (several,) = np.nonzero(np.diff(first)[mine.windows.question] > 1)
    for window in several.tolist():
        of_question = slice(*first[mine.windows.question[window] :][:2])
        common = np.minimum(their_end[of_question], end[window])
        common = common - np.maximum(their_begin[of_question], begin[window])
        nearest[window] += int(common.argmax())
    return nearest


def _extents(features: Features) -> tuple[IntArray, IntArray]:
    """Index of each window's first passage character, and after its last. Shapes: (windows,)."""
    passage = features.question_passage[features.windows.question]
    starts, ends = _characters(features)
    first = features.windows.first
    last = first + features.windows.count - 1
    return starts.values[starts.begins[passage] + first], ends.values[ends.begins[passage] + last]


def _characters(features: Features) -> tuple[Ragged, Ragged]:
    return features.passages.char_start, features.passages.char_end


def _passage(features: Features, window: int) -> int:
    return int(features.question_passage[features.windows.question[window]])


def _mean(logits: Sequence[TeacherLogits]) -> TeacherLogits:
    """Averages probabilities, and no-answer logits."""

    def mean(rows: Sequence[Ragged]) -> Ragged:
        share = np.mean([np.exp(each.values.astype(np.float64)) for each in rows], axis=0)
        return replace(rows[0], values=np.log(share).astype(np.float16))

    return replace(
        logits[0],
        start=mean([each.start for each in logits]),
        end=mean([each.end for each in logits]),
        no_answer=np.mean([each.no_answer for each in logits], axis=0, dtype=np.float32),
    )
