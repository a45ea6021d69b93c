"""Converts the spellings of annotation tools, Hugging Face and pandas to SQuAD's."""

import math
from typing import Any

_ANSWER_KEYS = ("text", "answer_start")


def as_squad(question: Any, id_if_none: str) -> Any:
    """Converts a question to SQuAD's spelling, as far as its meaning is clear.

    Ids that are numbers become text; whole floats become integers; ``is_impossible`` of 0 or 1
    becomes false or true; answers may be parallel lists of texts and starts, or a single answer.
    If ``is_impossible`` is true, answers may be missing.

    Args:
        question: As it stands in the file.
        id_if_none: The id for a question without one.

    Returns:
        A new value; other values stay as they are.
    """
    if not isinstance(question, dict):
        return question
    spelled = dict(question)
    question_id = as_text(question.get("id"))
    spelled["id"] = id_if_none if question_id is None else question_id
    if "is_impossible" in question:
        spelled["is_impossible"] = _flag(question["is_impossible"])
    if "answers.text" in question:
        spelled["answers"] = {key: question.get(f"answers.{key}") for key in _ANSWER_KEYS}
    for key in ("answers", "plausible_answers"):
        if key in spelled:
            spelled[key] = _answers(spelled[key])
    if spelled.get("answers") is None:
        spelled.pop("answers", None)
        if spelled.get("is_impossible") is True:
            spelled["answers"] = []
    return spelled


def with_context(record: Any) -> Any:
    """Renames the `passage` of a record to SQuAD's `context`, if it has none.

    Args:
        record: An item of a file.

    Returns:
        A new value; items that are not a question with its passage stay as they are.
    """
    if (
        isinstance(record, dict)
        and "context" not in record
        and {"question", "passage"} <= set(record)
    ):
        return {"context" if key == "passage" else key: value for key, value in record.items()}
    return record


def as_text(value: Any) -> Any:
    """Converts a whole number to text and NaN to None; other values stay as they are."""
    whole = _whole(value)
    return str(whole) if isinstance(whole, int) and not isinstance(whole, bool) else whole


def _whole(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value):  # pandas' way to say "none"
            return None
        return int(value) if value.is_integer() else value
    return value


def _flag(value: Any) -> Any:
    whole = _whole(value)
    return bool(whole) if isinstance(whole, int) and whole in {0, 1} else whole


def _answers(answers: Any) -> Any:
    if isinstance(answers, dict):
        texts, starts = answers.get("text"), answers.get("answer_start")
        if isinstance(texts, str):
            texts, starts = [texts], [starts]
        if not (isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts)):
            return answers
        answers = [
            {"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)
        ]
    if not isinstance(answers, list):
        return answers
    return [
        {**answer, "answer_start": _whole(answer["answer_start"])}
        if isinstance(answer, dict) and "answer_start" in answer
        else answer
        for answer in answers
    ]
