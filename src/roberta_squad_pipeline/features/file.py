"""Features: tokenised passages, questions and windows in Arrow record batches.

One row is one passage; its questions and their windows are nested in it. So a passage's tokens are
stored once, however many questions it has, and nothing is padded. A batch holds a piece of the data
set, and only a few pieces are in memory while features are built. If `Features` are opened from a
memory-mapped file, their texts and tokens are views into the file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from roberta_squad_pipeline.common.arrays import IntArray
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import check_format_version
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.teacher import TeacherLogits
from roberta_squad_pipeline.features.tokens import (
    EncodedPassages,
    Ragged,
    TokenizerIdentity,
    row_of,
)
from roberta_squad_pipeline.features.windows import NO_ANSWER_POSITION, WindowLayout, Windows
from roberta_squad_pipeline.squad.held_out import FilePart

FORMAT_VERSION: Literal[4] = 4
META_KEY = b"roberta_squad_pipeline.features"
WINDOW_FIELDS = tuple(field.name for field in fields(Windows))[1:]


class FeaturesMeta(StrictModel):
    """What features were made from; stored in their file."""

    format_version: Literal[4] = FORMAT_VERSION
    data_sha256: str
    """Hash of the SQuAD file."""
    windows: WindowConfig
    tokenizer: TokenizerIdentity
    part: FilePart | None = None
    """Which articles of the file were used; None for all."""

    @property
    def layout(self) -> WindowLayout:
        """Where the two texts are in a window."""
        return layout_of(self.windows, self.tokenizer)


def layout_of(windows: WindowConfig, tokenizer: TokenizerIdentity) -> WindowLayout:
    """Where the two texts are in windows of a tokenizer."""
    # The published series has one separator, whatever the tokenizer itself would insert.
    two = windows.order == "question_first"
    return WindowLayout(windows.order, tokenizer.special_tokens.pair_separators if two else 1)


@dataclass(frozen=True, slots=True)
class FeatureCounts:
    """What a piece of features contains; the counts of pieces can be added."""

    passages: int = 0
    questions: int = 0
    windows: int = 0
    labelled: int = 0
    """Windows that contain a whole gold answer and are labelled with it."""
    unlabelled: int = 0
    """Windows of unlabelled questions."""
    labelled_of_several: int = 0
    """Labelled windows whose question has several gold answers in different places."""
    misaligned: int = 0
    """Answers without a place, since they are not at their ``answer_start``."""
    repaired: int = 0
    """Answers that were moved to their real place."""
    inside_tokens: int = 0
    """Answers that begin or end inside a token, so that no span of tokens matches them exactly."""
    beyond_windows: int = 0
    """Answerable questions none of whose windows contains a whole answer."""
    cut_questions: int = 0
    """Questions that were cut, since they exceed `WindowConfig.max_question_tokens`."""
    longest_question: int = 0
    """Tokens of the longest question before it was cut."""

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Self:
        """Counts the content of a batch from `build_features`."""
        questions = batch.column("questions").values
        windows = questions.field("windows")
        labelled = pc.greater(windows.values.field("start"), NO_ANSWER_POSITION)
        of_several = questions.field("several_answers").take(pc.list_parent_indices(windows))

        def total(column: pa.Array) -> int:
            count: int = pc.sum(column, min_count=0).as_py()
            return count

        return cls(
            passages=batch.num_rows,
            questions=len(questions),
            windows=len(windows.values),
            labelled=total(labelled),
            unlabelled=total(pc.less(windows.values.field("start"), NO_ANSWER_POSITION)),
            labelled_of_several=total(pc.and_(labelled, of_several)),
            misaligned=total(batch.column("misaligned")),
            repaired=total(batch.column("repaired")),
            inside_tokens=total(questions.field("answers_inside_tokens")),
            beyond_windows=total(questions.field("answer_beyond_windows")),
            cut_questions=int(np.count_nonzero(_tokens_cut(questions))),
            longest_question=pc.max(questions.field("whole_tokens")).as_py() or 0,
        )

    def __add__(self, other: Self) -> Self:
        """Adds the counts of two pieces."""
        added = {name: count + getattr(other, name) for name, count in asdict(self).items()}
        longest = max(self.longest_question, other.longest_question)
        return replace(self, **added | {"longest_question": longest})


@dataclass(frozen=True)
class Features:
    """Windows of a SQuAD file, ready to be batched.

    Texts and tokens are views into the file. The other arrays are copies if the file has more than
    one record batch.
    """

    meta: FeaturesMeta
    counts: FeatureCounts
    passage_texts: pa.ChunkedArray
    passages: EncodedPassages
    question_ids: pa.ChunkedArray
    question_tokens: Ragged
    question_tokens_cut: IntArray
    """Number of tokens that were cut off the end of each question. Shape: (questions,)"""
    question_passage: IntArray
    """Index of each question's passage. Shape: (questions,)"""
    gold_texts: pa.ChunkedArray
    """Texts of each question's gold answers, as in the file; none if it is unanswerable."""
    windows: Windows
    path: Path | None = None
    """The file they were opened from, so that other processes can open it, too."""
    teacher: TeacherLogits | None = None
    """A teacher's logits for the windows; None if there is no teacher."""

    @classmethod
    def open(cls, source: Path | bytes | pa.Buffer) -> Self:
        """Maps a features file into memory, or reads the content of one.

        Raises:
            InputError: It has another content, or features of another format version.
        """
        if not isinstance(source, Path):
            return cls._read(pa.py_buffer(source))
        with pa.memory_map(str(source)) as mapped:
            features = cls._read(mapped.read_buffer())
        return replace(features, path=source)

    @classmethod
    def from_batch(cls, batch: pa.RecordBatch) -> Self:
        """Reads a batch from `build_features`.

        Raises:
            InputError: The batch was not made by this version of `build_features`.
        """
        sink = pa.BufferOutputStream()
        write_features([batch], batch.schema, sink)
        return cls.open(sink.getvalue())

    @classmethod
    def _read(cls, content: pa.Buffer) -> Self:
        file = pa.ipc.open_file(content)
        meta = _read_meta(file.schema)
        batches = [file.get_batch(number) for number in range(file.num_record_batches)]
        questions = [batch.column("questions") for batch in batches]
        question = [column.values for column in questions]
        windows = [column.field("windows") for column in question]
        passages = EncodedPassages(
            *(
                _ragged(content, [batch.column(name) for batch in batches])
                for name in ("tokens", "char_start", "char_end")
            )
        )
        return cls(
            meta=meta,
            counts=sum(map(FeatureCounts.of, batches), FeatureCounts()),
            passage_texts=pa.chunked_array([batch.column("text") for batch in batches]),
            passages=passages,
            question_ids=pa.chunked_array([column.field("id") for column in question]),
            question_tokens=_ragged(content, [column.field("tokens") for column in question]),
            question_tokens_cut=_joined(map(_tokens_cut, question)),
            question_passage=row_of(_joined(np.diff(_values(c.offsets)) for c in questions)),
            gold_texts=pa.chunked_array([column.field("answers") for column in question]),
            windows=Windows(
                row_of(_joined(np.diff(_values(column.offsets)) for column in windows)),
                *(
                    _joined(_values(column.values.field(name)) for column in windows)
                    for name in WINDOW_FIELDS
                ),
            ),
        )

    @cached_property
    def window_tokens(self) -> IntArray:
        """Length of each window in tokens, including special tokens. Shape: (windows,)."""
        question_tokens = self.question_tokens.lengths[self.windows.question]
        tokens: IntArray = self.meta.layout.special_tokens + self.windows.count + question_tokens
        return tokens

    @cached_property
    def passage_position(self) -> IntArray:
        """Position of each window's first passage token. Shape: (windows,)."""
        question_tokens = self.question_tokens.lengths[self.windows.question]
        return self.meta.layout.passage_position(question_tokens)

    @cached_property
    def tokens_with_text(self) -> Ragged:
        """Which passage tokens have characters, one row per passage.

        Byte-level BPE makes a token without characters of a space before another space.
        """
        starts, ends = self.passages.char_start, self.passages.char_end
        longest = int(starts.lengths.max(initial=0))
        has_text = starts.cut(longest).values != ends.cut(longest).values
        return Ragged.of_lengths(has_text, starts.lengths)

    @cached_property
    def passage_letters(self) -> Ragged:
        """The lowest byte of each character, one row per passage; it differs for most texts."""
        letters: list[NDArray[Any]] = []
        lengths: list[int] = []
        for chunk in self.passage_texts.chunks:
            texts = chunk.to_pylist()
            letters.append(np.frombuffer("".join(texts).encode("utf-32-le"), np.uint8)[::4].copy())
            lengths += map(len, texts)
        return Ragged.of_lengths(_joined(letters), lengths)

    @property
    def gold(self) -> dict[str, tuple[str, ...]]:
        """The texts of the gold answers by question id; none if it is unanswerable."""
        texts = map(tuple, self.gold_texts.to_pylist())
        return dict(zip(self.question_ids.to_pylist(), texts, strict=True))


def write_features(batches: Iterable[pa.RecordBatch], schema: pa.Schema, sink: Any) -> None:
    """Writes batches from `build_features` as an Arrow file for `Features.open`.

    Args:
        batches: One or more.
        schema: The schema of the batches.
        sink: A file or stream that is open for writing.
    """
    with pa.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _read_meta(schema: pa.Schema) -> FeaturesMeta:
    raw = (schema.metadata or {}).get(META_KEY)
    remedy = "Build them again: kedro run --pipeline features"
    if raw is None:
        raise InputError(
            where="features",
            got="an Arrow file with other data",
            expected="features of this pipeline",
            remedy=remedy,
        )
    check_format_version(raw, FORMAT_VERSION, where="features", remedy=remedy)
    try:
        return FeaturesMeta.model_validate_json(raw)
    except ValidationError as error:
        raise InputError(
            where="features",
            got=f"a wrong header ({error.errors()[0]['msg']})",
            expected=f"format version {FORMAT_VERSION}",
            remedy=remedy,
        ) from error


def check_tokenizer(features: Features, tokenizer_sha256: str, *, where: str) -> None:
    """Checks that features have the token ids of a reader's own tokenizer.

    Raises:
        InputError: The features were built with another tokenizer.
    """
    if features.meta.tokenizer.sha256 != tokenizer_sha256:
        raise InputError(
            where=where,
            got=f"features that were built with the tokenizer of {features.meta.tokenizer.encoder}",
            expected="features built with this encoder's tokenizer",
            remedy="Build them again: kedro run --pipeline features, with the same --params.",
        )


def _values(array: pa.Array) -> IntArray:
    values: IntArray = array.to_numpy(zero_copy_only=True)
    return values


def _tokens_cut(questions: pa.StructArray) -> IntArray:
    left: IntArray = np.diff(_values(questions.field("tokens").offsets))
    return _values(questions.field("whole_tokens")) - left


def _joined(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
    parts = list(arrays)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _ragged(content: pa.Buffer, columns: Sequence[pa.ListArray]) -> Ragged:
    """Makes rows of all batches parts of one array: the whole file."""
    begins, lengths = [], []
    for column in columns:
        offsets = _values(column.offsets)
        # Where the column's values are in the file, which aligns them to multiples of their size.
        base = _values(column.values).__array_interface__["data"][0] - content.address
        begins.append(base // np.int32().itemsize + offsets[:-1].astype(np.int64))
        lengths.append(np.diff(offsets))
    whole = np.frombuffer(content, np.int32, content.size // np.int32().itemsize)
    return Ragged(whole, _joined(begins), _joined(lengths))
