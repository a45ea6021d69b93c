"""Hugging Face's question-answering recipe, as its example `run_qa.py` is publicly described.

The question comes before the passage, the tokenizer cuts windows of 384 tokens that overlap by 128,
a window without the answer is labelled at its first token, and `transformers.Trainer` trains
`AutoModelForQuestionAnswering` with its own AdamW, clipping and linear schedule. The answer is the
best pair of the 20 likeliest starts and ends; the no-answer score compares the first token with it.

Batches are padded to their longest window, the example's setting without `pad_to_max_length`: what
is learnt is the same, in less time. Where an answer is the last token of its window the example
labels the token after it; this labels the answer. A run that was killed goes on from the trainer's
own checkpoint.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_runs import Answered
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    BatchEncoding,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from roberta_squad_pipeline.squad.dataset import GoldAnswer, SquadDataset

MAX_TOKENS = 384
OVERLAP_TOKENS = 128
BATCH_WINDOWS = 16
DROPOUT = 0.1
N_BEST = 20
MAX_ANSWER_TOKENS = 30
PREDICTION_BATCH_WINDOWS = 32
SAVE_EVERY = 25
"""Updates from checkpoint to checkpoint."""
PROGRESS = "progress.json"
"""Written into a checkpoint when the rest of it is there."""
PASSAGE = 1
"""The passage's number in a pair of texts."""


@dataclass(frozen=True)
class RecipeSettings:
    """What may differ from run to run.

    Args:
        updates: Optimiser steps.
        warmup_updates: Of these, with a rising learning rate.
        lr: At the end of the warm-up.
        seed: Of the span head's weights, the order of the windows, and dropout.
        precision: fp32, or bf16 for autocast.
        score_every: Updates between two looks at the questions to be answered.
    """

    updates: int
    warmup_updates: int
    lr: float
    seed: int
    precision: str
    score_every: int


@dataclass(frozen=True)
class RecipeRun:
    """A finished run.

    Args:
        answered: After the last update.
        curve: What was scored meanwhile, the update with it.
        training_seconds: Without the looks at the questions to be answered, and without what a kill
            cost.
        windows: To train on.
    """

    answered: Answered
    curve: list[dict[str, Any]]
    training_seconds: float
    windows: int


def train_and_answer(
    encoder: Path,
    train: SquadDataset,
    dev: SquadDataset,
    settings: RecipeSettings,
    *,
    checkpoints: Path,
    score: Callable[[Answered], dict[str, Any]],
) -> RecipeRun:
    """Trains on one data set and answers the questions of another.

    Goes on from the last checkpoint if there is one.

    Args:
        encoder: Folder of a pre-trained encoder.
        train: The questions to learn from.
        dev: The questions to answer.
        settings: Of the run.
        checkpoints: Their folder, of this run alone.
        score: Scores what the model answers meanwhile.
    """
    set_seed(settings.seed)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    windows = training_windows(tokenizer, train)
    asked = AskedWindows(tokenizer, dev)
    config = AutoConfig.from_pretrained(
        encoder, hidden_dropout_prob=DROPOUT, attention_probs_dropout_prob=DROPOUT
    )
    model = AutoModelForQuestionAnswering.from_pretrained(encoder, config=config)
    looks = _Looks(lambda: asked.answer(model, settings.precision), settings, score)
    trainer = Trainer(
        model=model,
        args=_training_arguments(settings, checkpoints),
        train_dataset=windows,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[looks],
    )
    checkpoint = _newest(checkpoints)
    if checkpoint is not None:
        looks.restore(checkpoint)
    trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    answered = looks.answered or asked.answer(model, settings.precision)
    return RecipeRun(answered, looks.curve, looks.seconds, len(windows))


def training_windows(
    tokenizer: PreTrainedTokenizerBase, dataset: SquadDataset
) -> list[dict[str, Any]]:
    """All windows of a data set with the first gold answer's first and last token as labels."""
    encoded = _encode(tokenizer, dataset)
    rows = []
    for window, question in enumerate(encoded["overflow_to_sample_mapping"]):
        answers = dataset.questions[question].answers
        start, end = _labels(encoded, window, answers[0] if answers else None)
        inputs = {name: encoded[name][window] for name in _input_names(encoded)}
        rows.append(inputs | {"start_positions": start, "end_positions": end})
    return rows


class AskedWindows:
    """The windows of questions that are to be answered."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, dataset: SquadDataset) -> None:
        self._questions = dataset.questions
        self._passages = [passage.text for passage in dataset.passages for _ in passage.questions]
        self._encoded = _encode(tokenizer, dataset)
        self._collate = DataCollatorWithPadding(tokenizer)

    def answer(self, model: PreTrainedModel, precision: str) -> Answered:
        """Answers every question, from all of its windows."""
        found: list[list[WindowSpans]] = [[] for _ in self._questions]
        for window, (start, end) in enumerate(self._logits(model, precision)):
            offsets = np.array(self._encoded["offset_mapping"][window])
            in_passage = np.array(self._encoded.sequence_ids(window)) == PASSAGE
            question = self._encoded["overflow_to_sample_mapping"][window]
            found[question].append(window_spans(start, end, offsets, in_passage))
        answered = Answered({}, {})
        for question, passage, spans in zip(self._questions, self._passages, found, strict=True):
            text, score = best_answer(spans, passage)
            answered.texts[question.id] = text
            answered.no_answer_scores[question.id] = score
        return answered

    def _logits(self, model: PreTrainedModel, precision: str) -> Iterator[tuple[Any, Any]]:
        # Windows of like lengths together, so that there is little to pad.
        lengths = [len(ids) for ids in self._encoded["input_ids"]]
        order = np.argsort(lengths, kind="stable")
        logits: dict[int, tuple[Any, Any]] = {}
        was_training = model.training
        model.eval()
        with torch.inference_mode(), _autocast(model.device.type, precision):
            for first in range(0, len(order), PREDICTION_BATCH_WINDOWS):
                batch = order[first : first + PREDICTION_BATCH_WINDOWS].tolist()
                names = _input_names(self._encoded)
                rows = [{name: self._encoded[name][row] for name in names} for row in batch]
                padded = BatchEncoding(self._collate(rows))
                output = model(**padded.to(model.device))
                pairs = zip(
                    output.start_logits.float().cpu(), output.end_logits.float().cpu(), strict=True
                )
                for row, (start, end) in zip(batch, pairs, strict=True):
                    logits[row] = start[: lengths[row]].numpy(), end[: lengths[row]].numpy()
        model.train(was_training)
        return (logits[row] for row in range(len(order)))


@dataclass(frozen=True)
class WindowSpans:
    """What one window says.

    Args:
        null_score: Start and end logit of the first token, summed.
        score: Start and end logit of the best span, summed; None where there is no span.
        chars: Where the best span begins and ends in the passage.
    """

    null_score: float
    score: float | None
    chars: tuple[int, int]


def window_spans(
    start: np.ndarray, end: np.ndarray, offsets: np.ndarray, in_passage: np.ndarray
) -> WindowSpans:
    """Looks for the best span among the likeliest starts and ends.

    Args:
        start: Start logits. Shape: (tokens,)
        end: End logits. Shape: (tokens,)
        offsets: Where each token begins and ends in its text. Shape: (tokens, 2)
        in_passage: Whether a token is one of the passage. Shape: (tokens,)
    """
    # Whatever they are tokens of: the question's take places from the passage's.
    starts = np.argsort(-start, kind="stable")[:N_BEST]
    ends = np.argsort(-end, kind="stable")[:N_BEST]
    length = ends[None, :] - starts[:, None] + 1
    allowed = (length >= 1) & (length <= MAX_ANSWER_TOKENS)
    allowed &= in_passage[starts][:, None] & in_passage[ends][None, :]
    scores = np.where(allowed, start[starts][:, None] + end[ends][None, :], -np.inf)
    first, last = np.unravel_index(int(np.argmax(scores)), scores.shape)
    return WindowSpans(
        null_score=float(start[0] + end[0]),
        score=float(scores[first, last]) if allowed.any() else None,
        chars=(int(offsets[starts[first], 0]), int(offsets[ends[last], 1])),
    )


def best_answer(windows: Sequence[WindowSpans], passage: str) -> tuple[str, float]:
    """The best span's text and the no-answer score of one question.

    Args:
        windows: All windows of the question.
        passage: What it asks about.
    """
    null_score = min(window.null_score for window in windows)
    spans = [window for window in windows if window.score is not None]
    if not spans:
        return "empty", null_score  # the recipe's own word where no span is left
    best = max(spans, key=lambda window: window.score)
    return passage[slice(*best.chars)], null_score - best.score


def _encode(tokenizer: PreTrainedTokenizerBase, dataset: SquadDataset) -> BatchEncoding:
    return tokenizer(
        # Blanks before a question have made its truncation fail, says the example.
        [question.text.lstrip() for question in dataset.questions],
        [passage.text for passage in dataset.passages for _ in passage.questions],
        truncation="only_second",
        max_length=MAX_TOKENS,
        stride=OVERLAP_TOKENS,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding=False,
    )


def _input_names(encoded: Mapping[str, Any]) -> list[str]:
    return [name for name in encoded if name in {"input_ids", "attention_mask", "token_type_ids"}]


def _labels(encoded: BatchEncoding, window: int, answer: GoldAnswer | None) -> tuple[int, int]:
    """First and last token of an answer; those of the window's first token if it lacks it."""
    if answer is None:
        return 0, 0
    tokens = np.flatnonzero(np.array(encoded.sequence_ids(window)) == PASSAGE)
    begins, ends = np.array(encoded["offset_mapping"][window])[tokens].T
    answer_end = answer.start + len(answer.text)
    if begins[0] > answer.start or ends[-1] < answer_end:
        return 0, 0
    start = np.flatnonzero(begins <= answer.start)[-1]
    end = np.flatnonzero(ends >= answer_end)[0]
    return int(tokens[start]), int(tokens[end])


def _newest(checkpoints: Path) -> Path | None:
    """The newest checkpoint that is whole: a kill may have left half of one."""
    whole = [path.parent for path in checkpoints.glob(f"checkpoint-*/{PROGRESS}")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _training_arguments(settings: RecipeSettings, checkpoints: Path) -> TrainingArguments:
    gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=settings.updates,
        warmup_steps=settings.warmup_updates,
        learning_rate=settings.lr,
        lr_scheduler_type="linear",
        per_device_train_batch_size=BATCH_WINDOWS,
        adam_beta1=0.9,
        adam_beta2=0.999,
        adam_epsilon=1e-8,
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=settings.seed,
        bf16=settings.precision == "bf16",
        use_cpu=not gpu,
        save_strategy="no" if gpu else "steps",  # a run is too short there to be worth it
        save_steps=SAVE_EVERY,
        save_total_limit=2,  # a kill may have left half of the last
        report_to="none",
        logging_steps=10,
    )


def _autocast(device: str, precision: str) -> AbstractContextManager[object]:
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")


class _Looks(TrainerCallback):
    """Answers the questions every so many updates and after the last, and counts the seconds."""

    def __init__(
        self,
        answer: Callable[[], Answered],
        settings: RecipeSettings,
        score: Callable[[Answered], dict[str, Any]],
    ) -> None:
        self._answer = answer
        self._settings = settings
        self._score = score
        self._since = 0.0
        self.seconds = 0.0
        self.curve: list[dict[str, Any]] = []
        self.answered: Answered | None = None

    def restore(self, checkpoint: Path) -> None:
        """Goes on counting from a checkpoint."""
        progress = json.loads((checkpoint / PROGRESS).read_bytes())
        self.seconds = progress["seconds"]
        self.curve = progress["curve"]

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Called by the trainer before the first update."""
        _wait()
        self._since = time.perf_counter()

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Called by the trainer after an update."""
        update = state.global_step
        look = update % self._settings.score_every == 0 or update == self._settings.updates
        if look:
            _wait()
        self.seconds += time.perf_counter() - self._since
        if look:
            self.answered = self._answer()
            self.curve.append({"update": update} | self._score(self.answered))
            print(json.dumps(self.curve[-1]), flush=True)
        self._since = time.perf_counter()

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Called by the trainer when a checkpoint is written."""
        progress = {"seconds": self.seconds, "curve": self.curve}
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (checkpoint / PROGRESS).write_text(json.dumps(progress))
        self._since = time.perf_counter()


def _wait() -> None:
    """Until the GPU, if there is one, has done what it was given: else its time is not counted."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
