"""A teacher's logits. Oracle: the teacher itself, window by window."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.teacher import TeacherLogits, TeacherMeta
from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
from roberta_squad_pipeline.inference.teaching import projected, taught_by
from roberta_squad_pipeline.reader.batching import assemble
from roberta_squad_pipeline.reader.storage import TrainedReader
from roberta_squad_pipeline.squad.dataset import Passage, SquadDataset

META = TeacherMeta(features_sha256="1" * 64, teacher="one")
Build = Callable[[SquadDataset, Path, WindowConfig], Features]


def taught(
    teacher: TrainedReader,
    features: Features,
    path: Path,
    meta: TeacherMeta = META,
    passages: Iterable[Passage] = (),
) -> TeacherLogits:
    config = teacher.inference
    return taught_by(teacher, features, lambda: passages, meta=meta, path=path, config=config)


def test_a_batch_has_what_the_teacher_says(
    evaluated: TrainedReader, tiny_features: Features, tmp_path: Path
) -> None:
    windows = len(tiny_features.windows.question)
    path = tmp_path / "new/teacher.arrow"
    logits = taught(evaluated, tiny_features, path)
    for source in (logits, TeacherLogits.open(path)):
        batch = assemble(replace(tiny_features, teacher=source), np.array([3, 0, windows - 1]))
        with torch.no_grad():
            expected = evaluated.reader(batch)
        assert batch.teacher is not None
        for found, own in (
            (batch.teacher.start, expected.start_logits.log_softmax(-1)),
            (batch.teacher.end, expected.end_logits.log_softmax(-1)),
            (batch.teacher.no_answer, expected.no_answer_logits),
        ):
            torch.testing.assert_close(found, own, atol=4e-3, rtol=0)
        moved = batch.to(torch.device("meta")).teacher
        assert all(tensor.is_meta for tensor in (moved.start, moved.end, moved.no_answer))
    assert assemble(tiny_features, np.array([0])).teacher is None


def test_they_are_made_once(
    evaluated: TrainedReader, tiny_features: Features, tmp_path: Path
) -> None:
    """Oracle: of a teacher that was changed meanwhile they would be others."""
    path = tmp_path / "teacher.arrow"
    first = taught(evaluated, tiny_features, path)
    with torch.no_grad():
        evaluated.in_torch.span_head.weight.mul_(2)
    again = taught(evaluated, tiny_features, path)
    assert np.array_equal(first.end.values, again.end.values)
    other = META.model_copy(update={"features_sha256": "2" * 64})
    assert (taught(evaluated, tiny_features, path, other).end.values != first.end.values).any()
    assert TeacherLogits.open(path).meta == other
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="a file with other data"):
        taught(evaluated, tiny_features, path)


def test_logits_that_are_no_numbers_are_not_kept(
    evaluated: TrainedReader, tiny_features: Features, tmp_path: Path
) -> None:
    with torch.no_grad():
        evaluated.in_torch.span_head.bias.fill_(torch.nan)
    with pytest.raises(InputError, match="infinite or not numbers"):
        taught(evaluated, tiny_features, tmp_path / "teacher.arrow")
    assert not (tmp_path / "teacher.arrow").exists()


def _characters(features: Features, window: int) -> dict[int, tuple[int, int]]:
    """Position in the window of each passage token, and its characters."""
    passage = features.question_passage[features.windows.question[window]]
    first, count = features.windows.first[window], features.windows.count[window]
    starts, ends = (
        each[passage][first : first + count].tolist()
        for each in (features.passages.char_start, features.passages.char_end)
    )
    begin = int(features.passage_position[window])
    return dict(enumerate(zip(starts, ends, strict=True), begin))


def test_another_tokenizer_s_teacher_is_read_by_characters(
    build: Build,
    tiny_squad: SquadDataset,
    window_config: WindowConfig,
    roberta_folder: Path,
    bert_folder: Path,
) -> None:
    """Oracle: each of the teacher's tokens, looked up among the student's one by one."""
    longer = window_config.model_copy(update={"max_tokens": 48, "stride": 10})
    mine = build(tiny_squad, roberta_folder, window_config)
    theirs = build(tiny_squad, bert_folder, longer)
    said = TeacherLogits.empty(META, theirs.window_tokens)
    random = np.random.default_rng(5)
    for window, tokens in enumerate(theirs.window_tokens.tolist()):
        for rows in (said.start, said.end):
            rows[window][:] = np.log(random.dirichlet(np.ones(tokens)))
        said.no_answer[window] = window
    found = projected(said, theirs, mine)
    for window, question in enumerate(mine.windows.question.tolist()):
        own = _characters(mine, window)
        other = int(found.no_answer[window])
        assert theirs.windows.question[other] == question
        reach = {one for start, end in own.values() for one in range(start, end)}
        common = {
            each: len(
                reach & {c for s, e in _characters(theirs, each).values() for c in range(s, e)}
            )
            for each in np.flatnonzero(theirs.windows.question == question).tolist()
        }
        assert common[other] >= max(common.values()) - 2  # white space counts in one way alone
        token_characters = _characters(theirs, other)
        for rows, kept in ((said.start, found.start), (said.end, found.end)):
            expected = np.zeros(mine.window_tokens[window])
            for token, logit in enumerate(rows[other].astype(np.float64)):
                start, end = token_characters.get(token, (-1, -1))
                at = start if rows is said.start else end - 1
                holding = [place for place, (s, e) in own.items() if s <= at < e] or [0]
                expected[holding[0] if rows is said.start else holding[-1]] += np.exp(logit)
            np.testing.assert_allclose(np.exp(kept[window]), expected, atol=4e-3)
            assert np.isfinite(kept[window]).all()


def test_a_teacher_with_other_tokens_builds_windows_of_its_own(
    evaluated: TrainedReader,
    build: Build,
    tiny_squad: SquadDataset,
    window_config: WindowConfig,
    roberta_folder: Path,
    bert_folder: Path,
    tmp_path: Path,
) -> None:
    """Oracle: what the teacher says of features that are built beside it."""
    ours = evaluated.header.tokenizer.sha256
    folders = {
        PassageTokenizer.load(str(f)).identity.sha256: f for f in (roberta_folder, bert_folder)
    }
    own = build(tiny_squad, folders.pop(ours), window_config)
    [student] = (build(tiny_squad, folder, window_config) for folder in folders.values())
    expected = projected(taught(evaluated, own, tmp_path / "own.arrow"), own, student)
    passages = tiny_squad.passages
    found = taught(evaluated, student, tmp_path / "other.arrow", passages=passages)
    assert np.array_equal(found.start.values, expected.start.values)
    other_questions = passages[:1]
    with pytest.raises(InputError, match="other questions than those in the training file now"):
        taught(evaluated, student, tmp_path / "no.arrow", passages=other_questions)
