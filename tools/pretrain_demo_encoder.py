"""Pre-trains the encoder that the embedded experiment starts from.

`python tools/pretrain_demo_encoder.py` makes the shipped folder anew. The encoder never
sees a question, nor a name of the training or dev split. It reads ``<s> passage </s> statement
</s>``, where the statement restates a fact in other words and ``<mask>`` stands for the value, and
learns to select the value in the passage (recurring-span selection, as in Splinter,
https://arxiv.org/abs/2101.00438); where the passage does not hold the fact, it points at ``<s>``.
Selecting takes three steps, and each is learnt on its own as well, by tagging the passage's tokens:
which names recur in the statement, which values belong to the entity that the statement names, and
which are of the kind that it asks for. The heads that select and tag are thrown away.

Passages are drawn as they are needed and never come twice. The order of floating-point sums
differs between machines, so another machine's encoder is as good, not equal to the last bit.
"""

import argparse
import random
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

from roberta_squad_pipeline.demo import PACKAGED_ENCODER
from roberta_squad_pipeline.demo.passages import (
    Entity,
    Fact,
    Size,
    Story,
    capitalise,
    write_passage,
)
from roberta_squad_pipeline.demo.phrases import FactType

_SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_BOS, _PAD, _EOS, _, _MASK = range(len(_SPECIAL_TOKENS))
_FIRST_SIZES: tuple[Size, ...] = ("simple",)
_SIZES: tuple[Size, ...] = ("usual",) * 30 + ("long",)
_TAGS = ("names that recur", "values of the named entity", "values of the kind asked for")
_UNTAGGED = -1
_REPORT_EVERY = 100
_SAVE_EVERY = 1000


@dataclass(frozen=True)
class Settings:
    """Everything that decides what comes out."""

    seed: int
    """Of the passages, the tokenizer's text and the first weights."""
    updates: int
    """Optimiser updates in all."""
    simple_updates: int = 2500
    """Of these, the first, on short passages: matching names is learnt there twice as fast."""
    batch_size: int = 32
    """Statements per update."""
    statements_per_passage: int = 4
    unsupported: float = 0.35
    """Share of statements whose fact the passage does not hold."""
    vocabulary: int = 2048
    """Entries of the tokenizer."""
    tokenizer_passages: int = 20000
    """Passages that the tokenizer is trained on."""
    layers: int = 4
    hidden: int = 128
    heads: int = 4
    feed_forward: int = 512
    lr: float = 1e-3
    """At its peak."""
    warmup_updates: int = 200
    decay_updates: float = 0.4
    """Share of the updates, the last ones, over which the learning rate falls to 0."""
    weight_decay: float = 0.01
    """On matrices only."""
    max_grad_norm: float = 1.0


@dataclass(frozen=True)
class Example:
    """A passage and a statement, as token ids.

    Attributes:
        input_ids: ``<s> passage </s> statement </s>``.
        start: Position of the value's first token, 0 if the passage does not hold the fact.
        end: Position of its last token, or 0.
        tags: For each of `_TAGS` and each token 1, 0, or `_UNTAGGED` where it does not apply.
    """

    input_ids: list[int]
    start: int
    end: int
    tags: list[list[int]]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--output", type=Path, default=PACKAGED_ENCODER, help="folder of the encoder"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, default=7500)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pretrain(Settings(seed=options.seed, updates=options.updates), options.output)


def pretrain(settings: Settings, output: Path) -> None:
    """Train the tokenizer and the encoder and save both, the encoder again and again.

    Args:
        settings: What to do.
        output: Folder of config.json, model.safetensors, tokenizer.json, tokenizer_config.json.
    """
    torch.manual_seed(settings.seed)
    tokenizer = train_tokenizer(settings)
    RobertaTokenizerFast(tokenizer_object=tokenizer, model_max_length=512).save_pretrained(output)
    selector = SpanSelector(_new_encoder(settings))
    optimiser = _new_optimiser(selector, settings)
    report = _Report(settings.updates)
    for update, examples in enumerate(_batches(tokenizer, settings), start=1):
        for group in optimiser.param_groups:
            group["lr"] = settings.lr * _multiplier(update, settings)
        start_loss, accuracy = _update(selector, optimiser, examples, settings.max_grad_norm)
        report.add(update, start_loss, accuracy)
        if update % _SAVE_EVERY == 0 or update == settings.updates:
            selector.encoder.save_pretrained(output)
        if update == settings.updates:
            break


class SpanSelector(nn.Module):
    """The encoder with the three heads that pre-training throws away.

    Args:
        encoder: Without a pooling layer.
    """

    def __init__(self, encoder: RobertaModel) -> None:
        super().__init__()
        hidden = encoder.config.hidden_size
        self.encoder = encoder
        self.span_head = nn.Linear(hidden, 2)
        self.support_head = nn.Linear(hidden, 1)
        self.tag_head = nn.Linear(hidden, len(_TAGS))

    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Select the value.

        Args:
            input_ids: Padded. Shape: (batch, tokens)

        Returns:
            Start and end logits of every token. Shape: (batch, tokens, 2); a logit that is high
            where the passage does not hold the fact. Shape: (batch,); and a logit of each tag of
            every token. Shape: (batch, tokens, tags)
        """
        present = input_ids != _PAD
        with torch.autocast(input_ids.device.type, torch.bfloat16):
            output = self.encoder(input_ids=input_ids, attention_mask=present)
        states = output.last_hidden_state.float()
        span = self.span_head(states).masked_fill(~present[..., None], -1e4)
        return span, self.support_head(states[:, 0]).squeeze(-1), self.tag_head(states)


def _update(
    selector: SpanSelector,
    optimiser: torch.optim.Optimizer,
    examples: list[Example],
    max_grad_norm: float,
) -> tuple[float, float]:
    """One update; returns its loss and the share of statements whose span was found exactly."""
    tokens = max(len(example.input_ids) for example in examples)
    padded = [_padded(example.input_ids, tokens, _PAD) for example in examples]
    span, unsupported, tagged = selector(torch.tensor(padded))
    start = torch.tensor([example.start for example in examples])
    end = torch.tensor([example.end for example in examples])
    spans = (F.cross_entropy(span[..., 0], start) + F.cross_entropy(span[..., 1], end)) / 2
    # Teaches <s> to know whether the passage holds the fact, not only to win where it does not.
    support = F.binary_cross_entropy_with_logits(unsupported, (start == 0).float())
    tags = torch.tensor([[_padded(tag, tokens, _UNTAGGED) for tag in e.tags] for e in examples])
    loss = spans + 0.5 * support + _tagging_loss(tagged, tags.transpose(1, 2))
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(selector.parameters(), max_grad_norm)
    optimiser.step()
    optimiser.zero_grad()
    found = (span[..., 0].argmax(-1) == start) & (span[..., 1].argmax(-1) == end)
    return loss.item(), found.float().mean().item()


def _padded(row: list[int], length: int, filling: int) -> list[int]:
    return row + [filling] * (length - len(row))


def _tagging_loss(tagged: Tensor, tags: Tensor) -> Tensor:
    """Sum over tags of the mean over the tokens to which the tag applies."""
    each = F.binary_cross_entropy_with_logits(tagged, tags.clamp(min=0).float(), reduction="none")
    applies = tags != _UNTAGGED
    means = (each * applies).sum((0, 1)) / applies.sum((0, 1)).clamp(min=1)
    return means.sum()


def _multiplier(update: int, settings: Settings) -> float:
    """Of the peak learning rate, at an update counted from 1: up, flat, down."""
    left = (settings.updates - update) / (settings.decay_updates * settings.updates)
    return min(1.0, update / settings.warmup_updates, left)


def train_tokenizer(settings: Settings) -> Tokenizer:
    """A byte-level BPE made for passages and statements of the invented world."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        _tokenizer_text(settings),
        vocab_size=settings.vocabulary,
        special_tokens=list(_SPECIAL_TOKENS),
        show_progress=False,
    )
    trained: Tokenizer = tokenizer._tokenizer
    return trained


def _tokenizer_text(settings: Settings) -> Iterator[str]:
    rng = random.Random(f"{settings.seed}/tokenizer")  # noqa: S311 (no secret)
    for _ in range(settings.tokenizer_passages):
        passage = write_passage(rng, "pretraining", "usual")
        yield passage.text
        fact = rng.choice(passage.scene.stated)
        statement = _state(rng, fact.entity, fact.fact_type, said=None)
        yield " " + statement.replace("{v}", fact.value)


def _batches(tokenizer: Tokenizer, settings: Settings) -> Iterator[list[Example]]:
    """Batches of like lengths without end: simple passages first, then all sorts."""
    rng = random.Random(f"{settings.seed}/passages")  # noqa: S311 (no secret)
    size, made = settings.batch_size, 0
    while True:
        sizes = _FIRST_SIZES if made < settings.simple_updates else _SIZES
        pool: list[Example] = []
        for _ in range(2 * size):
            passage = write_passage(rng, "pretraining", rng.choice(sizes))
            pool += draw_examples(rng, passage, tokenizer, settings)
        rng.shuffle(pool)
        pool.sort(key=lambda example: len(example.input_ids))
        batches = [pool[first : first + size] for first in range(0, len(pool), size)]
        rng.shuffle(batches)
        made += len(batches)
        yield from batches


def draw_examples(
    rng: random.Random, passage: Story, tokenizer: Tokenizer, settings: Settings
) -> Iterator[Example]:
    """Statements on one passage, some of which it does not support."""
    encoded = tokenizer.encode(passage.text, add_special_tokens=False)
    for _ in range(settings.statements_per_passage):
        if rng.random() < settings.unsupported:
            entity, fact_type = rng.choice(passage.scene.unstated)
            statement = _state(rng, entity, fact_type, said=None)
            start = end = 0
        else:
            index = rng.randrange(len(passage.scene.stated))
            fact = passage.scene.stated[index]
            entity, fact_type = fact.entity, fact.fact_type
            statement = _state(rng, entity, fact_type, said=passage.phrases[index])
            value = _tokens_in(encoded.offsets, *_place(passage, fact))
            # Counted from <s>, in front of the passage.
            start, end = 1 + value[0], 1 + value[-1]
        before, after = statement.split("{v}")
        masked = [
            *tokenizer.encode(f" {before}".rstrip(), add_special_tokens=False).ids,
            _MASK,
            *tokenizer.encode(after, add_special_tokens=False).ids,
        ]
        input_ids = [_BOS, *encoded.ids, _EOS, *masked, _EOS]
        tags = _tags(passage, encoded.offsets, entity, fact_type, len(input_ids))
        yield Example(input_ids, start, end, tags)


def _tags(
    passage: Story,
    offsets: list[tuple[int, int]],
    entity: Entity,
    fact_type: FactType,
    length: int,
) -> list[list[int]]:
    """What each of `_TAGS` says of each token, for a statement on the entity's fact."""
    names, of_entity, of_kind = tags = [[_UNTAGGED] * length for _ in _TAGS]
    for other in passage.scene.entities:
        for name in re.finditer(re.escape(other.name.removeprefix("the ")), passage.text):
            for token in _tokens_in(offsets, *name.span()):
                names[1 + token] = int(other == entity)
    for fact in passage.scene.stated:
        for token in _tokens_in(offsets, *_place(passage, fact)):
            of_entity[1 + token] = int(fact.entity == entity)
            of_kind[1 + token] = int(fact.fact_type == fact_type)
    return tags


def _place(passage: Story, fact: Fact) -> tuple[int, int]:
    first = passage.answer_start(fact)
    return first, first + len(fact.value)


def _tokens_in(offsets: list[tuple[int, int]], first: int, last: int) -> list[int]:
    return [i for i, (start, stop) in enumerate(offsets) if stop > first and start < last]


def _state(rng: random.Random, entity: Entity, fact_type: FactType, *, said: str | None) -> str:
    """A statement of the fact, ``{v}`` for its value, in other words than the passage's."""
    clauses = (*fact_type.sentences, *fact_type.statements)
    forms = [form for form in (*fact_type.predicates, *clauses) if form != said]
    form = rng.choice(forms)
    clause = form if form in clauses else "{x} " + form
    return capitalise(clause.replace("{x}", entity.name)) + "."


def _new_encoder(settings: Settings) -> RobertaModel:
    config = RobertaConfig(
        vocab_size=settings.vocabulary,
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=settings.feed_forward,
        hidden_act="relu",
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        initializer_range=0.05,
        # Passages never come twice: there is nothing to overfit.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        bos_token_id=_BOS,
        pad_token_id=_PAD,
        eos_token_id=_EOS,
    )
    encoder = RobertaModel(config, add_pooling_layer=False)
    with torch.no_grad():
        # Sinusoids let neighbours find each other from the start.
        positions = torch.arange(config.max_position_embeddings)[:, None]
        angles = positions * 1000 ** -torch.linspace(0, 1, settings.hidden // 2)
        waves = torch.cat((angles.sin(), angles.cos()), dim=1)
        encoder.embeddings.position_embeddings.weight.copy_(0.03 * waves)
        # Equal queries and keys let equal tokens find each other from the start: names have to
        # be matched (compare mimetic initialisation, https://arxiv.org/abs/2305.09828).
        layers: Any = encoder.encoder.layer
        for layer in layers:
            query, key = layer.attention.self.query, layer.attention.self.key
            query.weight.normal_(std=0.09)
            key.weight.copy_(query.weight)
    return encoder


def _new_optimiser(selector: SpanSelector, settings: Settings) -> torch.optim.Optimizer:
    matrices = [p for p in selector.parameters() if p.ndim > 1]
    others = [p for p in selector.parameters() if p.ndim == 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98), eps=1e-6, fused=True)


class _Report:
    """Prints means over the last updates."""

    def __init__(self, updates: int) -> None:
        self._updates = updates
        self._begun = time.monotonic()
        self._loss = self._found = 0.0

    def add(self, update: int, loss: float, found: float) -> None:
        self._loss += loss / _REPORT_EVERY
        self._found += found / _REPORT_EVERY
        if update % _REPORT_EVERY == 0:
            seconds = time.monotonic() - self._begun
            sys.stdout.write(
                f"update {update}/{self._updates}  loss {self._loss:.3f}  "
                f"found {self._found:.1%}  {seconds:.0f} s\n"
            )
            sys.stdout.flush()
            self._loss = self._found = 0.0


if __name__ == "__main__":
    main()
