"""Features: tokenised passages, questions and windows in one Arrow record batch.

One row is one distinct passage, with its questions and their windows nested in it, so that a
passage's tokens are stored once however many questions it has, and nothing is padded. Opened
from a memory-mapped file, every array of `Features` is a view into the file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import ValidationError

from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.squad.dataset import Question, SquadDataset
from roberta_squad_pipeline.squad.windows import (
    SPECIAL_TOKENS,
    IntArray,
    WindowConfig,
    Windows,
    plan_windows,
)
from roberta_squad_pipeline.strict import StrictModel

FORMAT_VERSION: Literal[1] = 1
_META_KEY = b"roberta_squad_pipeline.features"
_WINDOW_FIELDS = ("first", "count", "start", "end", "context_first", "context_last")


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of unequal length, one behind the other."""

    values: NDArray[Any]
    """Shape: (values of all rows,)"""
    offsets: IntArray
    """Row i is values[offsets[i]:offsets[i + 1]]. Shape: (rows + 1,)"""

    def __getitem__(self, row: int) -> NDArray[Any]:
        """Row `row`, as a view."""
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> IntArray:
        """Length of each row. Shape: (rows,)."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class EncodedPassages:
    """Tokens of many passages with the characters they came from."""

    tokens: Ragged
    """Token ids, no special tokens among them."""
    char_start: IntArray
    """First character of each token in its passage. Shape: (tokens of all passages,)"""
    char_end: IntArray
    """One past each token's last character. Shape: (tokens of all passages,)"""


class SpecialTokens(StrictModel):
    """Token ids that frame a window."""

    cls: int
    sep: int
    pad: int


class TokenizerIdentity(StrictModel):
    """Tells tokenizers apart, since token ids mean nothing without theirs."""

    encoder: str
    """Folder or hub id that it came from."""
    sha256: str
    """Of its serialised form."""
    entries: int
    """Size of its vocabulary: no token id reaches it."""
    special_tokens: SpecialTokens


class FeaturesMeta(StrictModel):
    """What features were made of; it travels in their file."""

    format_version: Literal[1] = FORMAT_VERSION
    data_sha256: str
    """Of the SQuAD file."""
    windows: WindowConfig
    tokenizer: TokenizerIdentity
    answers_inside_tokens: int
    """Answers that begin or end inside a token, so that no span of tokens is exactly them."""
    answers_beyond_windows: int
    """Answers that no window holds whole."""


@dataclass(frozen=True, slots=True)
class Features:
    """Windows of a SQuAD file, ready to be batched; every array is a view where it can be."""

    meta: FeaturesMeta
    passage_texts: pa.StringArray
    passages: EncodedPassages
    question_ids: pa.StringArray
    question_tokens: Ragged
    question_passage: IntArray
    """Index of each question's passage. Shape: (questions,)"""
    answer_chars: tuple[IntArray, IntArray]
    """First character of each question's answer and one past its last, or -1 and -1.
    Shapes: (questions,)"""
    windows: Windows
    path: Path | None = None
    """The file they were opened from, for other processes to open it, too."""

    @classmethod
    def open(cls, source: Path | bytes) -> Self:
        """Opens a features file, mapped into memory, or the content of one.

        Raises:
            InputError: It holds something else.
        """
        if isinstance(source, bytes):
            return cls.from_batch(pa.ipc.open_file(pa.BufferReader(source)).get_batch(0))
        with pa.memory_map(str(source)) as mapped:
            features = cls.from_batch(pa.ipc.open_file(mapped).get_batch(0))
        return replace(features, path=source)

    @classmethod
    def from_batch(cls, batch: pa.RecordBatch) -> Self:
        """Reads what `build_features` made.

        Raises:
            InputError: The batch was not made by this version of `build_features`.
        """
        meta = _read_meta(batch.schema)
        passages = EncodedPassages(
            _ragged(batch.column("tokens")),
            _values(batch.column("char_start").values),
            _values(batch.column("char_end").values),
        )
        questions = batch.column("questions")
        question = questions.values
        windows = question.field("windows")
        question_rows = np.diff(_values(questions.offsets))
        window_rows = np.diff(_values(windows.offsets))
        return cls(
            meta=meta,
            passage_texts=batch.column("text"),
            passages=passages,
            question_ids=question.field("id"),
            question_tokens=_ragged(question.field("tokens")),
            question_passage=_row_of(question_rows),
            answer_chars=(
                _values(question.field("answer_char_start")),
                _values(question.field("answer_char_end")),
            ),
            windows=Windows(
                _row_of(window_rows),
                *(_values(windows.values.field(name)) for name in _WINDOW_FIELDS),
            ),
        )

    @property
    def window_tokens(self) -> IntArray:
        """Length of each window in tokens, special tokens included. Shape: (windows,)."""
        question_tokens = self.question_tokens.lengths[self.windows.question]
        tokens: IntArray = SPECIAL_TOKENS + self.windows.count + question_tokens
        return tokens


def build_features(
    dataset: SquadDataset,
    *,
    path: Path,
    encode_passages: Callable[[Sequence[str]], EncodedPassages],
    encode_questions: Callable[[Sequence[str]], Ragged],
    windows: WindowConfig,
    tokenizer: TokenizerIdentity,
    data_sha256: str,
) -> pa.RecordBatch:
    """Tokenises each distinct passage once and each question once, and plans all windows.

    A question's label is its first answer.

    Args:
        dataset: The questions.
        path: Where they were read from, for messages.
        encode_passages: Texts to tokens with their characters.
        encode_questions: Texts to tokens, at most `windows.max_question_tokens` each.
        windows: How passages are cut.
        tokenizer: What encodes, recorded in the features.
        data_sha256: Of the file, recorded in the features.

    Returns:
        A batch for `Features.from_batch`, its `FeaturesMeta` in the schema.

    Raises:
        InputError: A passage has no token at all.
    """
    questions_of: dict[str, list[Question]] = {}
    for passage in dataset.passages:
        questions_of.setdefault(passage.text, []).extend(passage.questions)
    texts = list(questions_of)
    questions = [question for asked in questions_of.values() for question in asked]
    questions_per_passage = np.array([len(asked) for asked in questions_of.values()])

    passages = encode_passages(texts)
    _check_every_passage_has_tokens(passages, texts, path)
    question_tokens = encode_questions([question.text for question in questions])
    passage_of = _row_of(questions_per_passage)
    answer_chars = _answer_chars(questions)
    answer_first, answer_last, exact = _locate_answers(passages, texts, passage_of, answer_chars)
    planned = plan_windows(
        passages.tokens.lengths[passage_of],
        question_tokens.lengths,
        answer_first,
        answer_last,
        windows,
    )
    answered = np.bincount(planned.question[planned.start > 0], minlength=len(questions)) > 0
    has_answer = answer_chars[0] >= 0
    meta = FeaturesMeta(
        data_sha256=data_sha256,
        windows=windows,
        tokenizer=tokenizer,
        answers_inside_tokens=int((has_answer & ~exact).sum()),
        answers_beyond_windows=int((has_answer & ~answered).sum()),
    )
    question_column = _question_column(questions, question_tokens, answer_chars, planned)
    return pa.record_batch(
        {
            "text": pa.array(texts, pa.string()),
            "tokens": _list(passages.tokens.offsets, passages.tokens.values),
            "char_start": _list(passages.tokens.offsets, passages.char_start),
            "char_end": _list(passages.tokens.offsets, passages.char_end),
            "questions": _list(_offsets(questions_per_passage), question_column),
        }
    ).replace_schema_metadata({_META_KEY: meta.model_dump_json().encode()})


def _answer_chars(questions: Sequence[Question]) -> tuple[IntArray, IntArray]:
    first_answers = [question.answers[0] if question.answers else None for question in questions]
    start = [answer.start if answer else -1 for answer in first_answers]
    end = [answer.start + len(answer.text) if answer else -1 for answer in first_answers]
    return np.array(start, np.int32), np.array(end, np.int32)


def _locate_answers(
    passages: EncodedPassages,
    texts: Sequence[str],
    passage_of: IntArray,
    answer_chars: tuple[IntArray, IntArray],
) -> tuple[IntArray, IntArray, NDArray[np.bool_]]:
    """The shortest run of tokens that covers each answer, for all questions in two searches.

    Characters of all passages are put on one line, one passage behind the other, on which token
    starts and token ends are sorted.

    Returns:
        First token, last token, and whether the run spells the answer exactly, white space
        aside; -1, -1 where there is no answer. Shapes: (questions,)
    """
    offsets = passages.tokens.offsets
    # A gap of one keeps a passage's last character apart from the next one's first.
    base = np.cumsum([0] + [len(text) + 1 for text in texts])
    token_base = np.repeat(base[:-1], passages.tokens.lengths)
    question_base = base[passage_of]
    char_start, char_end = answer_chars
    # Byte-level BPE has tokens without a character, such as the first of two spaces.
    visible = np.flatnonzero(passages.char_end > passages.char_start)
    ends = (passages.char_end + token_base)[visible]
    starts = (passages.char_start + token_base)[visible]
    first = np.searchsorted(ends, char_start + question_base, side="right")
    last = np.searchsorted(starts, char_end + question_base, side="left") - 1
    found = (char_start >= 0) & (last >= first)
    first, last = (np.append(visible, -1)[run] for run in (first, last))
    exact = np.zeros(len(found), np.bool_)
    for row in np.flatnonzero(found):
        text = texts[passage_of[row]]
        spelled = text[passages.char_start[first[row]] : passages.char_end[last[row]]]
        exact[row] = spelled.strip() == text[char_start[row] : char_end[row]].strip()
    passage_first = offsets[passage_of]
    return (
        np.where(found, first - passage_first, -1).astype(np.int32),
        np.where(found, last - passage_first, -1).astype(np.int32),
        exact,
    )


def _question_column(
    questions: Sequence[Question],
    tokens: Ragged,
    answer_chars: tuple[IntArray, IntArray],
    windows: Windows,
) -> pa.StructArray:
    window_column = pa.StructArray.from_arrays(
        [pa.array(getattr(windows, name)) for name in _WINDOW_FIELDS], names=_WINDOW_FIELDS
    )
    windows_per_question = np.bincount(windows.question, minlength=len(questions))
    columns = {
        "id": pa.array([question.id for question in questions], pa.string()),
        "tokens": _list(tokens.offsets, tokens.values),
        "answer_char_start": pa.array(answer_chars[0]),
        "answer_char_end": pa.array(answer_chars[1]),
        "windows": _list(_offsets(windows_per_question), window_column),
    }
    return pa.StructArray.from_arrays(list(columns.values()), names=list(columns))


def _check_every_passage_has_tokens(
    passages: EncodedPassages, texts: Sequence[str], path: Path
) -> None:
    empty = np.flatnonzero(passages.tokens.lengths == 0)
    if len(empty):
        raise InputError(
            where=str(path),
            got=f"the passage {texts[empty[0]][:60]!r}, of which the tokenizer leaves nothing",
            expected="passages of at least one token",
            remedy="Take this passage out, or use an encoder whose tokenizer knows its characters.",
        )


def _read_meta(schema: pa.Schema) -> FeaturesMeta:
    raw = (schema.metadata or {}).get(_META_KEY)
    remedy = "Build them again: kedro run --pipeline features"
    if raw is None:
        raise InputError(
            where="features",
            got="an Arrow file of another kind",
            expected="features of this pipeline",
            remedy=remedy,
        )
    try:
        return FeaturesMeta.model_validate_json(raw)
    except ValidationError as error:
        raise InputError(
            where="features",
            got=f"a header that does not fit ({error.errors()[0]['msg']})",
            expected=f"format version {FORMAT_VERSION}",
            remedy=remedy,
        ) from error


def _row_of(rows_per_parent: NDArray[Any]) -> IntArray:
    return np.repeat(np.arange(len(rows_per_parent), dtype=np.int32), rows_per_parent)


def _offsets(lengths: NDArray[Any]) -> IntArray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def _list(offsets: IntArray, values: Any) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _values(array: pa.Array) -> IntArray:
    values: IntArray = array.to_numpy(zero_copy_only=True)
    return values


def _ragged(array: pa.ListArray) -> Ragged:
    return Ragged(_values(array.values), _values(array.offsets))
