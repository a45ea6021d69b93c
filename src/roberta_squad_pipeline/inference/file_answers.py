"""Answers a file of questions, a chunk at a time.

One process answers all of a chunk, so that answers do not depend on the number of processes.
Finished chunks are kept in a folder beside the output until all are there, so that a run can go on
where it was killed.
"""

import errno
import fcntl
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import stamps, written_atomically
from roberta_squad_pipeline.common.same_run import digest, surroundings
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.distributed.stopping import StopRequest
from roberta_squad_pipeline.inference.answering import (
    ANSWER_COLUMNS,
    Asked,
    answers_or_errors,
    as_asked,
    as_row,
)
from roberta_squad_pipeline.reader.storage import TrainedReader
from roberta_squad_pipeline.squad.dataset import ASKED_QUESTION
from roberta_squad_pipeline.squad.faults import no_questions
from roberta_squad_pipeline.squad.forms import files_of
from roberta_squad_pipeline.squad.paragraphs import squad_paragraphs

_PARQUET = ".parquet"
_JOB = "job"
"""File with a short name of everything that the answers depend on."""
_ROWS, _CHARACTERS = 1000, 1_000_000
"""The most in a chunk: seconds of work, for passages of any length."""

_CANDIDATE = {
    "text": pa.string(),
    "char_start": pa.int64(),
    "char_end": pa.int64(),
    "score": pa.float64(),
}
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        **{name: pa.type_for_alias(kind) for name, kind in ANSWER_COLUMNS.items()},
        "candidates": pa.list_(pa.struct(_CANDIDATE)),
        "error": pa.string(),
    }
)

_logger = logging.getLogger(__name__)


class _Row(NamedTuple):
    """A question of a file, or the error in its place."""

    id: str | None
    where: str
    question: str = ""
    passage: str = ""
    error: str | None = None


class Done(NamedTuple):
    """How much of a file is answered."""

    questions: int
    """Number of rows that are done, including errors."""
    errors: int
    """Number of rows without an answer."""
    first_error: str | None


def count_questions(path: Path) -> int:
    """Counts the rows of a file of any form, including errors.

    Raises:
        InputError: It contains no valid question.
    """
    count = asked = 0
    for row in _rows(path):
        count += 1
        asked += row.error is None
    if asked:
        return count
    faults = (one for one in squad_paragraphs(path) if isinstance(one, InputError))
    raise next(faults, no_questions(path))


@contextmanager
def work_folder(output: Path, trained: TrainedReader, questions: Path) -> Iterator[Path]:
    """Opens the folder for answers until all are there; it may have those of an earlier run.

    Args:
        output: The output; the folder is beside it.
        trained: The reader that answers, loaded from a folder.
        questions: The file of questions.

    Raises:
        InputError: Another process uses the folder, or it cannot be written.
    """
    if trained.path is None:
        raise ValueError("a reader can only be recognised if it was loaded from a folder")
    folder = output.with_name(f"{output.name}.partial")
    described = {
        "reader": stamps(trained.path),
        "questions": [stamps(file) for file in files_of(questions)],
    }
    job = digest(surroundings() | described)
    try:
        if output.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder")
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        busy = isinstance(error, BlockingIOError)
        raise InputError(
            where=str(output),
            got="another process that is writing it" if busy else str(error.strerror),
            expected="a file that this process alone can write",
            remedy="Wait until it has ended." if busy else "Give another predict.output.",
        ) from error
    with lock:
        kept = folder / _JOB
        if not (kept.exists() and kept.read_text() == job):
            if parts := _parts(folder):
                _logger.warning(
                    "starting again: the answers in %s are of other questions, reader or code",
                    folder,
                )
            for part in parts:
                part.unlink()
            kept.write_text(job)
        yield folder


def read_done(work: Path) -> Done:
    """Counts the rows that are done in a folder."""
    found = [row["error"] for part in _parts(work) for row in _rows_of(part)]
    errors = [error for error in found if error is not None]
    return Done(len(found), len(errors), next(iter(errors), None))


def answer_file(
    trained: TrainedReader,
    questions: Path,
    work: Path,
    *,
    processes: Processes,
    on_questions: Callable[[int], None],
    stop: StopRequest,
) -> None:
    """Answers the rest of a file.

    Args:
        trained: The reader; it is moved to the process's device.
        questions: The file; only rank 0 needs to have it.
        work: The folder in which rank 0 keeps the answers; see `work_folder`.
        processes: Each answers chunks of its own, and each calls this function.
        on_questions: Called on rank 0 with the number of questions that were answered since.
        stop: A request to stop after the present chunks.
    """
    chunks: Iterator[list[_Row]] = iter(())
    if processes.first:
        chunks = islice(_chunks(questions), len(_parts(work)), None)
    while True:
        taken = [] if stop.made else list(islice(chunks, processes.count))
        # Only rank 0 has the questions, and decides whether to go on.
        told = processes.broadcast_bytes(json.dumps(taken).encode())
        turn = [[_Row(*row) for row in chunk] for chunk in json.loads(told)]
        if not turn:
            return
        mine = turn[processes.rank] if processes.rank < len(turn) else []
        answered = processes.gather_bytes(_answered(trained, mine, processes))
        if processes.first:
            for part in answered[: len(turn)]:
                with written_atomically(work / f"{len(_parts(work)):08}") as temp:
                    temp.write_bytes(part)
            on_questions(sum(map(len, turn)))


def write_answers(work: Path, output: Path) -> Done:
    """Writes all answers into one file, and removes the folder.

    Args:
        work: See `work_folder`.
        output: The file to write; its suffix says its format.

    Returns:
        The number of questions and errors.
    """
    done, parts = read_done(work), _parts(work)
    with written_atomically(output) as temp:
        if output.suffix == _PARQUET:
            with pq.ParquetWriter(temp, _SCHEMA) as writer:
                for part in parts:
                    writer.write_table(pa.Table.from_pylist(_rows_of(part), _SCHEMA))
        else:
            with temp.open("wb") as stream:
                for part in parts:
                    with part.open("rb") as answers:
                        shutil.copyfileobj(answers, stream)
    shutil.rmtree(work)
    return done


def _rows(path: Path) -> Iterator[_Row]:
    """The questions of a file, or the errors in their places."""
    for paragraph in squad_paragraphs(path):
        if isinstance(paragraph, InputError):
            yield _Row(None, str(path), error=str(paragraph))
            continue
        context = paragraph.content.get("context") if isinstance(paragraph.content, dict) else None
        one: object = None
        for one in paragraph.questions(ASKED_QUESTION):
            if isinstance(one, InputError):
                yield _Row(None, paragraph.where, error=str(one))
                continue
            where, question = one
            try:
                asked = as_asked((question["question"], context), 0)
            except InputError as error:
                yield _Row(question["id"], where, error=str(error.at(where)))
            else:
                yield _Row(question["id"], where, *asked)
        if one is None:
            yield from (
                _Row(None, paragraph.where, error=str(fault)) for fault in paragraph.faults()
            )


def _chunks(path: Path) -> Iterator[list[_Row]]:
    chunk: list[_Row] = []
    characters = 0
    for row in _rows(path):
        chunk.append(row)
        characters += len(row.question) + len(row.passage)
        if len(chunk) == _ROWS or characters >= _CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _answered(trained: TrainedReader, chunk: list[_Row], processes: Processes) -> bytes:
    """A chunk's part of the answers, as JSON Lines."""
    asked = [Asked(row.question, row.passage) for row in chunk if row.error is None]
    answers = iter(answers_or_errors(trained, asked, device=processes.device))
    threshold = trained.calibration.abstains_above
    lines = []
    for row in chunk:
        found = next(answers) if row.error is None else row.error
        if isinstance(found, InputError):
            found = found.at(row.where)
        answer = {"id": row.id} | as_row(found, threshold)
        lines.append(json.dumps(answer, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def _parts(work: Path) -> list[Path]:
    """The finished chunks, in their order."""
    return sorted(work.glob("[0-9]*"))


def _rows_of(part: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in part.read_bytes().splitlines()]
