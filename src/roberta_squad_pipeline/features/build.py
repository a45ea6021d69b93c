"""Builds features of passages (tokens, windows and labels), a piece of the data at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from roberta_squad_pipeline.common.arrays import BoolArray, IntArray
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import (
    META_KEY,
    WINDOW_FIELDS,
    Features,
    FeaturesMeta,
    layout_of,
    write_features,
)
from roberta_squad_pipeline.features.tokens import (
    EncodedPassages,
    Ragged,
    row_of,
)
from roberta_squad_pipeline.features.windows import (
    UNLABELLED,
    AnswerTokens,
    Windows,
    plan_windows,
)
from roberta_squad_pipeline.squad.dataset import (
    GoldAnswer,
    Passage,
    Question,
)
from roberta_squad_pipeline.squad.held_out import FilePart

if TYPE_CHECKING:
    from roberta_squad_pipeline.features.tokenizer import PassageTokenizer

_PIECE_CHARACTERS = 500_000
"""Characters of passages and questions in one record batch: some 4,000 questions."""
_PIECES_AT_ONCE = 2
"""One piece is encoded while the arrays of another are made."""

Build = Callable[[Sequence[Passage]], pa.RecordBatch]
"""`build_features` with all its other arguments."""


def build_features_in_pieces(passages: Iterable[Passage], build: Build) -> pa.RecordBatchReader:
    """Builds features of any number of questions, and holds a few thousand of them at once.

    Reading, tokenising and writing go on at the same time, in threads. Errors in a passage are
    raised when the batches are read.

    Args:
        passages: Read as they are needed.
        build: Makes a batch of each piece.

    Returns:
        The batches for `write_features`; they can be read once.
    """
    batches = _in_order(build, _pieces(passages))
    first = next(batches)
    return pa.RecordBatchReader.from_batches(first.schema, chain([first], batches))


def features_in_file(passages: Iterable[Passage], path: Path, build: Build) -> Features:
    """Builds features into a file, and opens it; see `build_features_in_pieces`."""
    batches = build_features_in_pieces(passages, build)
    with pa.OSFile(str(path), "wb") as sink:
        write_features(batches, batches.schema, sink)
    return Features.open(path)


def _pieces(passages: Iterable[Passage]) -> Iterator[list[Passage]]:
    """Cuts passages into at least one list, all of about the same size."""
    piece: list[Passage] = []
    characters = 0
    for passage in passages:
        if characters >= _PIECE_CHARACTERS:
            yield piece
            piece, characters = [], 0
        piece.append(passage)
        characters += len(passage.text) + sum(len(asked.text) for asked in passage.questions)
    yield piece


def _in_order(build: Build, pieces: Iterable[Sequence[Passage]]) -> Iterator[pa.RecordBatch]:
    """Builds pieces in threads while the next ones are read; only a few are held at once."""
    building: deque[Future[pa.RecordBatch]] = deque()
    with ThreadPoolExecutor(_PIECES_AT_ONCE) as pool:
        for piece in pieces:
            building.append(pool.submit(build, piece))
            # One more than there are threads, so that none waits for reading or writing.
            if len(building) > _PIECES_AT_ONCE:
                yield building.popleft().result()
        while building:
            yield building.popleft().result()


def build_features(
    passages: Sequence[Passage],
    *,
    tokenizer: "PassageTokenizer",
    windows: WindowConfig,
    source: str,
    data_sha256: str = "",
    part: FilePart | None = None,
) -> pa.RecordBatch:
    """Tokenises each distinct passage once and each question once, and plans all windows.

    A window's label is the first answer to its question that lies wholly inside it; windows of
    unlabelled questions have none.

    Args:
        passages: Passages with their questions.
        tokenizer: Encodes the texts; its identity is recorded in the features.
        windows: How passages are cut.
        source: Where the questions come from, for messages.
        data_sha256: The file's hash, recorded in the features; empty if there is no file.
        part: Which articles of the file the questions belong to, recorded in the features.

    Returns:
        A batch for `write_features` or `Features.from_batch`, its `FeaturesMeta` in the schema.

    Raises:
        InputError: A passage has no tokens.
    """
    asked_of: dict[str, list[Passage]] = {}
    for passage in passages:
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

    encoded = tokenizer.passages(texts)
    _check_every_passage_has_tokens(encoded, texts, source)
    whole_questions = tokenizer.questions([asked.text for asked in questions], windows.order)
    question_tokens = whole_questions.cut(windows.max_question_tokens)
    passage_of = row_of(questions_per_passage)
    gold = [tuple(dict.fromkeys(asked.answers)) for asked in questions]
    answers, exact = locate_answers(encoded, texts, passage_of, gold)
    seeming = [(asked.plausible,) if asked.plausible else () for asked in questions]
    plausible, _ = locate_answers(encoded, texts, passage_of, seeming)
    planned = plan_windows(
        encoded.tokens.lengths[passage_of],
        question_tokens.lengths,
        answers,
        plausible,
        config=windows,
        layout=layout_of(windows, tokenizer.identity),
    )
    unlabelled = np.array([asked.unlabelled for asked in questions], np.bool_)[planned.question]
    planned.start[unlabelled] = planned.end[unlabelled] = UNLABELLED
    labelled = np.bincount(planned.question[planned.start > 0], minlength=len(questions))
    answers_per_question = np.array([len(of_one) for of_one in gold], np.int32)
    inside_tokens = np.bincount(answers.question[~exact], minlength=len(questions))
    question_column = _question_column(
        questions,
        question_tokens,
        planned,
        {
            "whole_tokens": whole_questions.lengths,
            "answers_inside_tokens": inside_tokens.astype(np.int32),
            "answer_beyond_windows": (answers_per_question > 0) & (labelled == 0),
            "several_answers": answers_per_question > 1,
        },
    )
    meta = FeaturesMeta(
        data_sha256=data_sha256, windows=windows, tokenizer=tokenizer.identity, part=part
    )
    lengths = encoded.tokens.lengths
    return pa.record_batch(
        {
            "text": pa.array(texts, pa.string()),
            "tokens": _list(lengths, encoded.tokens.values),
            "char_start": _list(lengths, encoded.char_start.values),
            "char_end": _list(lengths, encoded.char_end.values),
            "questions": _list(questions_per_passage, question_column),
            "misaligned": pa.array(misaligned, pa.int32()),
            "repaired": pa.array(repaired, pa.int32()),
        }
    ).replace_schema_metadata({META_KEY: meta.model_dump_json(exclude_none=True).encode()})


def locate_answers(
    passages: EncodedPassages,
    texts: Sequence[str],
    passage_of: IntArray,
    answers: Sequence[Sequence[GoldAnswer]],
) -> tuple[AnswerTokens, BoolArray]:
    """Finds the shortest run of tokens that covers each answer, for all answers in two searches.

    The characters of all passages are numbered in one line, passage after passage. Token starts and
    token ends are sorted on this line.

    Args:
        passages: The tokens of `texts`.
        texts: The passages.
        passage_of: Index of each question's passage. Shape: (questions,)
        answers: The answers to each question. Shape: (questions,)

    Returns:
        The runs, and whether each spells its answer exactly, apart from white space. Shape:
        (answers,)
    """
    # A gap of one keeps a passage's last character apart from the next one's first.
    base = np.cumsum([0] + [len(text) + 1 for text in texts])
    token_base = np.repeat(base[:-1], passages.tokens.lengths)
    question = row_of(np.array([len(of_one) for of_one in answers], np.int32))
    passage_of_answer = passage_of[question]
    answer_base = base[passage_of_answer]
    gold = list(chain.from_iterable(answers))
    char_start = np.array([answer.start for answer in gold], np.int64)
    char_end = char_start + np.array([len(answer.text) for answer in gold], np.int64)
    # Byte-level BPE has tokens without characters, such as the first of two spaces.
    token_start, token_end = passages.char_start.values, passages.char_end.values
    visible = np.flatnonzero(token_end > token_start)
    ends = (token_end + token_base)[visible]
    starts = (token_start + token_base)[visible]
    first = np.searchsorted(ends, char_start + answer_base, side="right")
    last = np.searchsorted(starts, char_end + answer_base, side="left") - 1
    found = last >= first
    first, last = (np.append(visible, -1)[run] for run in (first, last))
    exact = np.zeros(len(found), np.bool_)
    for row in np.flatnonzero(found):
        text = texts[passage_of_answer[row]]
        spelled = text[token_start[first[row]] : token_end[last[row]]]
        exact[row] = spelled.strip() == gold[row].text.strip()
    passage_first = passages.tokens.begins[passage_of_answer]
    runs = AnswerTokens(
        question,
        np.where(found, first - passage_first, -1).astype(np.int32),
        np.where(found, last - passage_first, -1).astype(np.int32),
    )
    return runs, exact


def _question_column(
    questions: Sequence[Question],
    tokens: Ragged,
    windows: Windows,
    counted: Mapping[str, NDArray[Any]],
) -> pa.StructArray:
    """Makes one row per question; `counted` holds the columns for `FeatureCounts`."""
    window_column = pa.StructArray.from_arrays(
        [pa.array(getattr(windows, name)) for name in WINDOW_FIELDS], names=WINDOW_FIELDS
    )
    windows_per_question = np.bincount(windows.question, minlength=len(questions))
    columns = {
        "id": pa.array([question.id for question in questions], pa.string()),
        "tokens": _list(tokens.lengths, tokens.values),
        "answers": pa.array([question.gold for question in questions], pa.list_(pa.string())),
        **{name: pa.array(column) for name, column in counted.items()},
        "windows": _list(windows_per_question, window_column),
    }
    return pa.StructArray.from_arrays(list(columns.values()), names=list(columns))


def _check_every_passage_has_tokens(
    passages: EncodedPassages, texts: Sequence[str], source: str
) -> None:
    empty = np.flatnonzero(passages.tokens.lengths == 0)
    if len(empty):
        raise InputError(
            where=source,
            got=f"the passage {texts[empty[0]][:60]!r}, which the tokenizer turns into no tokens",
            expected="passages of at least one token",
            remedy="Remove this passage, or use an encoder whose tokenizer knows its characters.",
        )


def _list(lengths: NDArray[Any], values: Any) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
