"""Score predictions as the official SQuAD 2.0 scorer does.

    python -m roberta_squad_pipeline.evaluation.score DATA PREDICTIONS
        [--na-prob-file F] [--na-prob-thresh T]

Input and output are those of the official scorer. A question without a prediction scores 0, as in
the official scorer of SQuAD 1.1; the one of 2.0 stops with a traceback. Stderr names these
questions, and its last line says how many were scored.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import FiniteFloat, TypeAdapter

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import write_text
from roberta_squad_pipeline.evaluation.scoring import squad_report
from roberta_squad_pipeline.squad.dataset import read_gold
from roberta_squad_pipeline.squad.json_input import read_json

_PREDICTIONS: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])
_NO_ANSWER_SCORES: TypeAdapter[dict[str, float]] = TypeAdapter(dict[str, FiniteFloat])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: The command line after the command's name; None takes the process's own.

    Returns:
        The exit code: 0, or 1 after an error, which is printed to stderr as one message.
    """
    options = _parser().parse_args(arguments)
    try:
        _score(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m roberta_squad_pipeline.evaluation.score",
        description="Score predictions as the official SQuAD 2.0 scorer does.",
    )
    parser.add_argument("data", type=Path, help="SQuAD JSON with the gold answers")
    parser.add_argument("predictions", type=Path, help="JSON object: question id to answer text")
    parser.add_argument(
        "-n",
        "--na-prob-file",
        type=Path,
        help="JSON object: question id to no-answer score, high = no answer",
    )
    parser.add_argument(
        "-t",
        "--na-prob-thresh",
        type=float,
        default=1.0,
        help="questions with a no-answer score above it count as unanswerable (%(default)s)",
    )
    parser.add_argument(
        "-o", "--out-file", type=Path, help="write the figures there instead of printing them"
    )
    return parser


def _score(options: argparse.Namespace) -> None:
    if not math.isfinite(options.na_prob_thresh):
        raise InputError(
            where="--na-prob-thresh",
            got=str(options.na_prob_thresh),
            expected="a finite number",
            remedy="Leave it out to abstain above 1.0.",
        )
    gold = read_gold(options.data)
    predictions = read_json(
        options.predictions,
        _PREDICTIONS,
        remedy="Give one JSON object of question ids and answer texts.",
    )
    no_answer_scores = None
    if options.na_prob_file is not None:
        no_answer_scores = read_json(
            options.na_prob_file,
            _NO_ANSWER_SCORES,
            remedy="Give one JSON object of question ids and no-answer scores.",
        )
    try:
        report = squad_report(
            gold,
            predictions,
            no_answer_scores=no_answer_scores,
            threshold=options.na_prob_thresh,
        )
    except InputError as error:
        # The scores know no files, but the message has to name one.
        files = {"predictions": options.predictions, "no-answer scores": options.na_prob_file}
        raise error.at(str(files[error.where])) from None
    text = json.dumps(report, indent=2)
    if options.out_file is None:
        print(text)
    else:
        _write(options.out_file, text)
    missing = [question_id for question_id in gold if question_id not in predictions]
    for question_id in missing:
        print(f"Missing prediction for {question_id}, which scores 0", file=sys.stderr)
    print(f"{len(gold) - len(missing)} of {len(gold)} scored", file=sys.stderr)


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, f"{text}\n")
    except OSError as error:
        raise InputError(
            where=str(path),
            got=f"a path that cannot be written ({error.strerror})",
            expected="a writable file name",
            remedy="Give another --out-file.",
        ) from None


if __name__ == "__main__":
    sys.exit(main())
