"""Features: tokenised passages, questions and windows in Arrow record batches.

One row is one passage, with its questions and their windows nested in it, so that a passage's
tokens are stored once however many questions it has, and nothing is padded. A batch holds a piece
of the data set, and no more than a few pieces are in memory while features are built. Opened from
a memory-mapped file, the texts and tokens of `Features` are views into the file.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, reduce
from itertools import chain
from operator import add
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from roberta_squad_pipeline.errors import InputError
from roberta_squad_pipeline.format_version import check_format_version
from roberta_squad_pipeline.squad.config import WindowConfig
from roberta_squad_pipeline.squad.dataset import Answer, Passage, Question, SquadDataset
from roberta_squad_pipeline.squad.windows import (
    AnswerTokens,
    IntArray,
    WindowLayout,
    Windows,
    plan_windows,
)
from roberta_squad_pipeline.strict import StrictModel

FORMAT_VERSION: Literal[3] = 3
_META_KEY = b"roberta_squad_pipeline.features"
_WINDOW_FIELDS = tuple(field.name for field in fields(Windows))[1:]

_PIECE_CHARACTERS = 500_000
"""Of passages and questions, in one record batch: some 4,000 questions."""
_PIECES_AT_ONCE = 2
"""So that one is encoded while the arrays of another are made."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of unequal length."""

    values: NDArray[Any]
    """Holds all rows, but other things may lie between them. Shape: (values,)"""
    begins: NDArray[np.int64]
    """Where in `values` each row begins. Shape: (rows,)"""
    lengths: IntArray
    """Shape: (rows,)"""

    @classmethod
    def of_lengths(cls, values: NDArray[Any], lengths: NDArray[Any] | Sequence[int]) -> Self:
        """Rows that lie one behind the other and fill `values`.

        Args:
            values: Shape: (values of all rows,)
            lengths: Shape: (rows,)
        """
        sizes = np.asarray(lengths, np.int32)
        ends = np.cumsum(sizes, dtype=np.int64)
        return cls(values, ends - sizes, sizes)

    def __getitem__(self, row: int) -> NDArray[Any]:
        """Row `row`, as a view."""
        begin = self.begins[row]
        return self.values[begin : begin + self.lengths[row]]


@dataclass(frozen=True, slots=True)
class EncodedPassages:
    """Tokens of many passages with the characters they came from; a row is a passage."""

    tokens: Ragged
    """Token ids, no special tokens among them."""
    char_start: Ragged
    """First character of each token in its passage."""
    char_end: Ragged
    """One past each token's last character."""


class SpecialTokens(StrictModel):
    """Token ids that frame a window."""

    cls: int
    sep: int
    pad: int
    pair_separators: int = Field(ge=1, le=2)
    """How many `sep` the tokenizer itself puts between the two texts of a pair: two in RoBERTa's
    family, else one."""


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

    format_version: Literal[3] = FORMAT_VERSION
    data_sha256: str
    """Of the SQuAD file."""
    windows: WindowConfig
    tokenizer: TokenizerIdentity

    @property
    def layout(self) -> WindowLayout:
        """Where the texts stand in a window."""
        return layout_of(self.windows, self.tokenizer)


def layout_of(windows: WindowConfig, tokenizer: TokenizerIdentity) -> WindowLayout:
    """Where the texts stand in windows of a tokenizer."""
    # The published series has one separator, whatever the tokenizer would put there.
    two = windows.order == "question_first"
    return WindowLayout(windows.order, tokenizer.special_tokens.pair_separators if two else 1)


@dataclass(frozen=True, slots=True)
class FeatureCounts:
    """How much there is of what; counts of pieces add up."""

    passages: int
    questions: int
    windows: int
    misaligned: int
    """Answers that were dropped because they are not where they claim to be."""
    repaired: int
    """Answers that were moved to where they are."""
    inside_tokens: int
    """Answers that begin or end inside a token, so that no span of tokens is exactly them."""
    beyond_windows: int
    """Answers that no window holds whole."""

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Self:
        """Counts what a batch of `build_features` holds."""
        questions = batch.column("questions").values
        marked = (
            batch.column("misaligned"),
            batch.column("repaired"),
            questions.field("answer_inside_token"),
            questions.field("answer_beyond_windows"),
        )
        return cls(
            batch.num_rows,
            len(questions),
            len(questions.field("windows").values),
            *(pc.sum(column, min_count=0).as_py() for column in marked),
        )

    def __add__(self, other: Self) -> Self:
        """Counts of two pieces together."""
        return replace(
            self, **{name: count + getattr(other, name) for name, count in asdict(self).items()}
        )


@dataclass(frozen=True)
class Features:
    """Windows of a SQuAD file, ready to be batched.

    Texts and rows of tokens are views, all others are arrays of their own where the file has more
    than one record batch.
    """

    meta: FeaturesMeta
    counts: FeatureCounts
    passage_texts: pa.ChunkedArray
    passages: EncodedPassages
    question_ids: pa.ChunkedArray
    question_tokens: Ragged
    question_passage: IntArray
    """Index of each question's passage. Shape: (questions,)"""
    answer_chars: tuple[IntArray, IntArray]
    """First character of each question's answer and one past its last, or -1 and -1.
    Shapes: (questions,)"""
    gold_texts: pa.ChunkedArray
    """Texts of each question's gold answers, as the file has them; none if unanswerable."""
    windows: Windows
    path: Path | None = None
    """The file they were opened from, for other processes to open it, too."""

    @classmethod
    def open(cls, source: Path | bytes | pa.Buffer) -> Self:
        """Opens a features file, mapped into memory, or the content of one.

        Raises:
            InputError: It holds something else, or features of another format version.
        """
        if not isinstance(source, Path):
            return cls._read(pa.py_buffer(source))
        with pa.memory_map(str(source)) as mapped:
            features = cls._read(mapped.read_buffer())
        return replace(features, path=source)

    @classmethod
    def from_batch(cls, batch: pa.RecordBatch) -> Self:
        """Reads what `build_features` made.

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
            counts=reduce(add, map(FeatureCounts.of, batches)),
            passage_texts=pa.chunked_array([batch.column("text") for batch in batches]),
            passages=passages,
            question_ids=pa.chunked_array([column.field("id") for column in question]),
            question_tokens=_ragged(content, [column.field("tokens") for column in question]),
            question_passage=_row_of(_joined(np.diff(_values(c.offsets)) for c in questions)),
            answer_chars=(
                _joined(_values(column.field("answer_char_start")) for column in question),
                _joined(_values(column.field("answer_char_end")) for column in question),
            ),
            gold_texts=pa.chunked_array([column.field("answers") for column in question]),
            windows=Windows(
                _row_of(_joined(np.diff(_values(column.offsets)) for column in windows)),
                *(
                    _joined(_values(column.values.field(name)) for column in windows)
                    for name in _WINDOW_FIELDS
                ),
            ),
        )

    @cached_property
    def window_tokens(self) -> IntArray:
        """Length of each window in tokens, special tokens included. Shape: (windows,)."""
        question_tokens = self.question_tokens.lengths[self.windows.question]
        tokens: IntArray = self.meta.layout.special_tokens + self.windows.count + question_tokens
        return tokens

    @cached_property
    def passage_position(self) -> IntArray:
        """Position of each window's first passage token. Shape: (windows,)."""
        question_tokens = self.question_tokens.lengths[self.windows.question]
        return self.meta.layout.passage_position(question_tokens)

    @property
    def gold(self) -> dict[str, tuple[str, ...]]:
        """The texts of the gold answers by question id; none if unanswerable."""
        texts = map(tuple, self.gold_texts.to_pylist())
        return dict(zip(self.question_ids.to_pylist(), texts, strict=True))


def build_features_in_pieces(
    passages: Iterable[Passage], build: Callable[[SquadDataset], pa.RecordBatch]
) -> pa.RecordBatchReader:
    """Builds features of any number of questions, of which a few thousand are held at once.

    Reading, tokenising and writing go on at the same time, in threads. What is wrong with a
    passage is raised when the batches are read.

    Args:
        passages: Read when they are needed.
        build: `build_features` with all other arguments.

    Returns:
        The batches for `write_features`, to be read once.
    """
    batches = _in_order(build, _pieces(passages))
    first = next(batches)
    return pa.RecordBatchReader.from_batches(first.schema, chain([first], batches))


def write_features(batches: Iterable[pa.RecordBatch], schema: pa.Schema, sink: Any) -> None:
    """Writes batches of `build_features` as the Arrow file that `Features.open` opens.

    Args:
        batches: At least one.
        schema: Theirs.
        sink: A file or stream that is open for writing.
    """
    with pa.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _pieces(passages: Iterable[Passage]) -> Iterator[SquadDataset]:
    """Cuts a data set into some of about the same size; at least one."""
    piece: list[Passage] = []
    characters = 0
    for passage in passages:
        if characters >= _PIECE_CHARACTERS:
            yield _dataset(piece)
            piece, characters = [], 0
        piece.append(passage)
        characters += len(passage.text) + sum(len(asked.text) for asked in passage.questions)
    yield _dataset(piece)


def _dataset(passages: Sequence[Passage]) -> SquadDataset:
    misaligned, repaired = (
        sum(getattr(passage, name) for passage in passages) for name in ("misaligned", "repaired")
    )
    return SquadDataset(tuple(passages), misaligned, repaired)


def _in_order(
    build: Callable[[SquadDataset], pa.RecordBatch], pieces: Iterable[SquadDataset]
) -> Iterator[pa.RecordBatch]:
    """Builds pieces in threads while the next ones are read, never more than a few ahead."""
    building: deque[Future[pa.RecordBatch]] = deque()
    with ThreadPoolExecutor(_PIECES_AT_ONCE) as pool:
        for piece in pieces:
            building.append(pool.submit(build, piece))
            # One more than is worked at, so that no thread waits for what is read or written.
            if len(building) > _PIECES_AT_ONCE:
                yield building.popleft().result()
        while building:
            yield building.popleft().result()


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
        A batch for `write_features` or `Features.from_batch`, its `FeaturesMeta` in the schema.

    Raises:
        InputError: A passage has no token at all.
    """
    asked_of: dict[str, list[Passage]] = {}
    for passage in dataset.passages:
        asked_of.setdefault(passage.text, []).append(passage)
    texts = list(asked_of)
    questions = [
        question for same in asked_of.values() for passage in same for question in passage.questions
    ]
    questions_per_passage = np.array(
        [sum(len(passage.questions) for passage in same) for same in asked_of.values()], np.int32
    )
    misaligned = [sum(passage.misaligned for passage in same) for same in asked_of.values()]
    repaired = [sum(passage.repaired for passage in same) for same in asked_of.values()]

    passages = encode_passages(texts)
    _check_every_passage_has_tokens(passages, texts, path)
    question_tokens = encode_questions([question.text for question in questions])
    passage_of = _row_of(questions_per_passage)
    answer_chars = _chars([asked.answers[0] if asked.answers else None for asked in questions])
    answers, exact = _locate_answers(passages, texts, passage_of, answer_chars)
    plausible_chars = _chars([asked.plausible for asked in questions])
    plausible, _ = _locate_answers(passages, texts, passage_of, plausible_chars)
    planned = plan_windows(
        passages.tokens.lengths[passage_of],
        question_tokens.lengths,
        answers,
        plausible,
        config=windows,
        layout=layout_of(windows, tokenizer),
    )
    answered = np.bincount(planned.question[planned.start > 0], minlength=len(questions)) > 0
    has_answer = answer_chars[0] >= 0
    question_column = _question_column(
        questions,
        question_tokens,
        answer_chars,
        planned,
        inside_token=has_answer & ~exact,
        beyond_windows=has_answer & ~answered,
    )
    meta = FeaturesMeta(data_sha256=data_sha256, windows=windows, tokenizer=tokenizer)
    lengths = passages.tokens.lengths
    return pa.record_batch(
        {
            "text": pa.array(texts, pa.string()),
            "tokens": _list(lengths, passages.tokens.values),
            "char_start": _list(lengths, passages.char_start.values),
            "char_end": _list(lengths, passages.char_end.values),
            "questions": _list(questions_per_passage, question_column),
            "misaligned": pa.array(misaligned, pa.int32()),
            "repaired": pa.array(repaired, pa.int32()),
        }
    ).replace_schema_metadata({_META_KEY: meta.model_dump_json().encode()})


def _chars(answers: Sequence[Answer | None]) -> tuple[IntArray, IntArray]:
    start = [answer.start if answer else -1 for answer in answers]
    end = [answer.start + len(answer.text) if answer else -1 for answer in answers]
    return np.array(start, np.int32), np.array(end, np.int32)


def _locate_answers(
    passages: EncodedPassages,
    texts: Sequence[str],
    passage_of: IntArray,
    answer_chars: tuple[IntArray, IntArray],
) -> tuple[AnswerTokens, NDArray[np.bool_]]:
    """The shortest run of tokens that covers each answer, for all questions in two searches.

    Characters of all passages are put on one line, one passage behind the other, on which token
    starts and token ends are sorted.

    Returns:
        The runs, and whether each spells its answer exactly, white space aside.
        Shape: (questions,)
    """
    # A gap of one keeps a passage's last character apart from the next one's first.
    base = np.cumsum([0] + [len(text) + 1 for text in texts])
    token_base = np.repeat(base[:-1], passages.tokens.lengths)
    question_base = base[passage_of]
    char_start, char_end = answer_chars
    # Byte-level BPE has tokens without a character, such as the first of two spaces.
    token_start, token_end = passages.char_start.values, passages.char_end.values
    visible = np.flatnonzero(token_end > token_start)
    ends = (token_end + token_base)[visible]
    starts = (token_start + token_base)[visible]
    first = np.searchsorted(ends, char_start + question_base, side="right")
    last = np.searchsorted(starts, char_end + question_base, side="left") - 1
    found = (char_start >= 0) & (last >= first)
    first, last = (np.append(visible, -1)[run] for run in (first, last))
    exact = np.zeros(len(found), np.bool_)
    for row in np.flatnonzero(found):
        text = texts[passage_of[row]]
        spelled = text[token_start[first[row]] : token_end[last[row]]]
        exact[row] = spelled.strip() == text[char_start[row] : char_end[row]].strip()
    passage_first = passages.tokens.begins[passage_of]
    runs = AnswerTokens(
        np.where(found, first - passage_first, -1).astype(np.int32),
        np.where(found, last - passage_first, -1).astype(np.int32),
    )
    return runs, exact


def _question_column(
    questions: Sequence[Question],
    tokens: Ragged,
    answer_chars: tuple[IntArray, IntArray],
    windows: Windows,
    *,
    inside_token: NDArray[np.bool_],
    beyond_windows: NDArray[np.bool_],
) -> pa.StructArray:
    window_column = pa.StructArray.from_arrays(
        [pa.array(getattr(windows, name)) for name in _WINDOW_FIELDS], names=_WINDOW_FIELDS
    )
    windows_per_question = np.bincount(windows.question, minlength=len(questions))
    columns = {
        "id": pa.array([question.id for question in questions], pa.string()),
        "tokens": _list(tokens.lengths, tokens.values),
        "answers": pa.array(
            [[answer.text for answer in question.answers] for question in questions],
            pa.list_(pa.string()),
        ),
        "answer_char_start": pa.array(answer_chars[0]),
        "answer_char_end": pa.array(answer_chars[1]),
        "answer_inside_token": pa.array(inside_token),
        "answer_beyond_windows": pa.array(beyond_windows),
        "windows": _list(windows_per_question, window_column),
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
    check_format_version(raw, FORMAT_VERSION, where="features", remedy=remedy)
    try:
        return FeaturesMeta.model_validate_json(raw)
    except ValidationError as error:
        raise InputError(
            where="features",
            got=f"a header that does not fit ({error.errors()[0]['msg']})",
            expected=f"format version {FORMAT_VERSION}",
            remedy=remedy,
        ) from error


def check_tokenizer(features: Features, tokenizer_sha256: str, *, where: str) -> None:
    """Checks that token ids mean to a reader what they meant when features were built.

    Raises:
        InputError: They come from another tokenizer.
    """
    if features.meta.tokenizer.sha256 != tokenizer_sha256:
        raise InputError(
            where=where,
            got=f"features that were built with the tokenizer of {features.meta.tokenizer.encoder}",
            expected="features built with this encoder's tokenizer",
            remedy="Build them again: kedro run --pipeline features, with the same --params.",
        )


def _row_of(rows_per_parent: NDArray[Any]) -> IntArray:
    return np.repeat(np.arange(len(rows_per_parent), dtype=np.int32), rows_per_parent)


def _list(lengths: NDArray[Any], values: Any) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _values(array: pa.Array) -> IntArray:
    values: IntArray = array.to_numpy(zero_copy_only=True)
    return values


def _joined(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
    parts = list(arrays)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _ragged(content: pa.Buffer, columns: Sequence[pa.ListArray]) -> Ragged:
    """Rows of all batches as parts of one array, which is the whole file."""
    begins, lengths = [], []
    for column in columns:
        offsets = _values(column.offsets)
        # Where the column's values stand in the file; it aligns them to more than their size.
        base = _values(column.values).__array_interface__["data"][0] - content.address
        begins.append(base // np.int32().itemsize + offsets[:-1].astype(np.int64))
        lengths.append(np.diff(offsets))
    whole = np.frombuffer(content, np.int32, content.size // np.int32().itemsize)
    return Ragged(whole, _joined(begins), _joined(lengths))
