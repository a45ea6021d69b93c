"""The shipped encoder is a RoBERTa with a tokenizer of its own, made for this data."""

from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from roberta_squad_pipeline.demo import PACKAGED_ENCODER as ENCODER

MAX_TOKENS = 160
SPECIAL_TOKENS = 3

SQuAD = dict[str, Any]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    loaded: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(ENCODER)
    return loaded


def _lengths(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[int]:
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def test_it_loads_as_a_small_roberta() -> None:
    encoder = AutoModel.from_pretrained(ENCODER, add_pooling_layer=False)
    assert encoder.config.model_type == "roberta"
    assert encoder.config.max_position_embeddings == 514
    assert encoder.dtype == torch.float32
    assert (ENCODER / "model.safetensors").stat().st_size <= 5_000_000


def test_its_tokenizer_is_a_fast_byte_level_bpe_with_robertas_special_tokens(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    assert tokenizer.is_fast
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert tokenizer.convert_tokens_to_ids(special) == [0, 1, 2, 3, 4]
    text = "Ünïcode — 水 — is cut into bytes and put together again."
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_passages_have_40_to_150_tokens_but_for_a_few(
    tokenizer: PreTrainedTokenizerFast, train: SQuAD, dev: SQuAD
) -> None:
    for squad in (train, dev):
        paragraphs = [p for article in squad["data"] for p in article["paragraphs"]]
        lengths = _lengths(tokenizer, [paragraph["context"] for paragraph in paragraphs])
        assert min(lengths) >= 40
        assert sum(length > 150 for length in lengths) <= 0.05 * len(lengths)
        two_windows = total = 0
        for paragraph, length in zip(paragraphs, lengths, strict=True):
            questions = [" Q: " + question["question"] for question in paragraph["qas"]]
            for question in _lengths(tokenizer, questions):
                two_windows += length + question + SPECIAL_TOKENS > MAX_TOKENS
                total += 1
        assert 0.02 <= two_windows / total <= 0.05
