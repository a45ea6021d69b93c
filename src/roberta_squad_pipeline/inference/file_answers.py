"""From a file of questions to a file of answers, a chunk at a time.

Each chunk is answered whole by one process, so that answers are the same however many processes
there are. Finished chunks lie in a folder beside the output until all of them are there, so that a
run goes on where it was killed.
"""

import errno
import fcntl
import io
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
from pydantic import TypeAdapter
from typing_extensions import TypedDict  # pydantic wants this one below Python 3.12

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import stamps, written_atomically
from roberta_squad_pipeline.common.same_run import digest, surroundings
from roberta_squad_pipeline.common.strict import StrictModel
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
from roberta_squad_pipeline.squad.faults import no_questions
from roberta_squad_pipeline.squad.forms import files_of
from roberta_squad_pipeline.squad.paragraphs import squad_paragraphs

_PARQUET = ".parquet"
_DONE = "done.json"
_ROWS, _CHARACTERS = 1000, 1_000_000
"""Of a chunk at most: seconds of work, whatever the length of its passages."""

_TYPES = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64()}
_CANDIDATE = {
    "text": pa.string(),
    "char_start": pa.int64(),
    "char_end": pa.int64(),
    "score": pa.float64(),
}
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        **{name: _TYPES[kind] for name, kind in ANSWER_COLUMNS.items()},
        "candidates": pa.list_(pa.struct(_CANDIDATE)),
        "error": pa.string(),
    }
)

_logger = logging.getLogger(__name__)


class _Question(TypedDict):
    id: str
    question: str


_QUESTION: TypeAdapter[_Question] = TypeAdapter(_Question)


class _Row(NamedTuple):
    """A question of a file, or what is wrong where one should be."""

    id: str | None
    where: str
    question: str = ""
    passage: str = ""
    error: str | None = None


class Done(StrictModel):
    """How far a file is answered."""

    job: str
    """What the answers depend on, as a short name."""
    chunks: int = 0
    questions: int = 0
    """Rows that are done, questions or not."""
    errors: int = 0
    """How many of them have no answer."""
    first_error: str | None = None


def count_questions(path: Path) -> int:
    """Counts the rows of a file in any form, questions or not.

    Raises:
        InputError: No question in it can be asked.
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
    """The folder that keeps answers until all are there, those of an earlier such run included.

    Args:
        output: The folder lies beside it.
        trained: The reader that answers, loaded from a folder.
        questions: The file.

    Raises:
        InputError: Another process is at work there, or nothing can be written there.
    """
    if trained.path is None:
        raise ValueError("it can only be told whether a reader is the same if it is in a folder")
    folder = output.with_name(f"{output.name}.partial")
    described = {
        "form": output.suffix,
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
            expected="a file that can be written, by one process at a time",
            remedy="Wait until it has ended." if busy else "Give another predict.output.",
        ) from error
    with lock:
        kept = folder / _DONE
        if kept.exists() and json.loads(kept.read_bytes())["job"] != job:
            _logger.warning(
                "starting anew: what lay in %s is of other questions, reader or code", folder
            )
            kept.unlink()
        if not kept.exists():
            _write(kept, Done(job=job).model_dump_json().encode())
        yield folder


def read_done(work: Path) -> Done:
    """Reads how far the work in a folder is."""
    return Done.model_validate_json((work / _DONE).read_bytes())


def answer_file(
    trained: TrainedReader,
    questions: Path,
    work: Path,
    *,
    suffix: str,
    processes: Processes,
    on_questions: Callable[[int], None],
    stop: StopRequest,
) -> None:
    """Answers what is left of a file.

    Args:
        trained: Moved to the process's device.
        questions: The file; only rank 0 needs to have it.
        work: Where rank 0 keeps the answers; see `work_folder`.
        suffix: Of the output; it gives the format.
        processes: Each answers chunks of its own, and each calls this function.
        on_questions: Called on rank 0 with how many more questions have their answers kept.
        stop: Ends the work after the chunks that are being answered.
    """
    chunks: Iterator[list[_Row]] = iter(())
    if processes.first:
        chunks = islice(_chunks(questions), read_done(work).chunks, None)
    while True:
        taken = [] if stop.made else list(islice(chunks, processes.count))
        # Only rank 0 knows what there is, and whether to go on.
        told = processes.broadcast_bytes(json.dumps(taken).encode())
        turn = [[_Row(*row) for row in chunk] for chunk in json.loads(told)]
        if not turn:
            return
        mine = turn[processes.rank] if processes.rank < len(turn) else []
        answered = processes.gather_bytes(_packed(_answered(trained, mine, processes), suffix))
        if processes.first:
            _keep(answered[: len(turn)], work, questions=sum(map(len, turn)))
            on_questions(sum(map(len, turn)))


def write_answers(work: Path, output: Path) -> Done:
    """Writes all answers into one file, and removes the folder.

    Args:
        work: See `work_folder`.
        output: The file to write; its suffix gives the format.

    Returns:
        How many questions there were.
    """
    done = read_done(work)
    parts = [_part(work, number) for number in range(done.chunks)]
    with written_atomically(output) as temp:
        if output.suffix == _PARQUET:
            with pq.ParquetWriter(temp, _SCHEMA) as writer:
                for part in parts:
                    writer.write_table(pq.ParquetFile(part).read())
        else:
            with temp.open("wb") as stream:
                for part in parts:
                    with part.open("rb") as answers:
                        shutil.copyfileobj(answers, stream)
    shutil.rmtree(work)
    return done


def _rows(path: Path) -> Iterator[_Row]:
    """The questions of a file, or what is wrong with them."""
    for paragraph in squad_paragraphs(path):
        if isinstance(paragraph, InputError):
            yield _Row(None, str(path), error=str(paragraph))
            continue
        context = paragraph.content.get("context") if isinstance(paragraph.content, dict) else None
        one: object = None
        for one in paragraph.questions(_QUESTION):
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


def _answered(
    trained: TrainedReader, chunk: list[_Row], processes: Processes
) -> list[dict[str, Any]]:
    asked = [Asked(row.question, row.passage) for row in chunk if row.error is None]
    answers = iter(answers_or_errors(trained, asked, device=processes.device))
    threshold = trained.calibration.abstains_above
    rows = []
    for row in chunk:
        found = next(answers) if row.error is None else row.error
        if isinstance(found, InputError):
            found = found.at(row.where)
        rows.append({"id": row.id} | as_row(found, threshold))
    return rows


def _packed(rows: list[dict[str, Any]], suffix: str) -> bytes:
    """Rows as they will stand in the output, after a line that tells their errors."""
    errors = [row["error"] for row in rows if row["error"] is not None]
    if suffix == _PARQUET:
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), sink)
        content = sink.getvalue()
    else:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        content = "".join(lines).encode()
    return json.dumps([len(errors), *errors[:1]]).encode() + b"\n" + content


def _keep(answered: list[bytes], work: Path, *, questions: int) -> None:
    done = read_done(work)
    errors, first_errors = done.errors, [done.first_error] if done.first_error else []
    for number, packed in enumerate(answered, done.chunks):
        told, _, content = packed.partition(b"\n")
        more, *first = json.loads(told)
        errors, first_errors = errors + more, first_errors + first
        _write(_part(work, number), content)
    # Last: what it does not tell of is answered again.
    now = Done(
        job=done.job,
        chunks=done.chunks + len(answered),
        questions=done.questions + questions,
        errors=errors,
        first_error=next(iter(first_errors), None),
    )
    _write(work / _DONE, now.model_dump_json().encode())


def _part(work: Path, number: int) -> Path:
    return work / f"{number:08}"


def _write(path: Path, content: bytes) -> None:
    with written_atomically(path) as temp:
        temp.write_bytes(content)
