"""The reader: an encoder, a span head and an answerability head."""

from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.tokenizer import encoder_error
from roberta_squad_pipeline.reader.attention import ATTENTION
from roberta_squad_pipeline.reader.batching import Batch, Logits, Packing
from roberta_squad_pipeline.reader.config import AnswerabilityInput, ModelConfig
from roberta_squad_pipeline.reader.dropout import replace_dropout
from roberta_squad_pipeline.reader.families import family_of


class ReaderOutput(NamedTuple):
    """A reader's output for a batch of windows."""

    start_logits: Tensor
    """Minus infinity on padding. Shape: (windows, tokens)"""
    end_logits: Tensor
    """Minus infinity on padding. Shape: (windows, tokens)"""
    no_answer_logits: Tensor
    """High values mean that the passage does not answer the question. Shape: (windows,)"""

    def arrays(self) -> Logits:
        """Copies the logits to the CPU: the only wait for the device per batch."""
        return Logits(*(logits.cpu().numpy() for logits in self))


class ReaderModel(nn.Module):
    """Finds the span of an answer, and scores whether there is one.

    The span head is one linear layer on every token. The answerability head reads ``<s>``, or the
    mean of the question's tokens: linear, tanh, dropout, linear to one logit.

    Args:
        encoder: An encoder without pooling layer.
        dropout: Dropout of the answerability head.
        answerability_input: What the answerability head reads.
    """

    def __init__(
        self, encoder: PreTrainedModel, dropout: float, answerability_input: AnswerabilityInput
    ) -> None:
        super().__init__()
        hidden = encoder.config.hidden_size
        self.encoder = encoder
        self.dropout = dropout
        self.answerability_input = answerability_input
        self.span_head = nn.Linear(hidden, 2)
        self.answerability_head = nn.Sequential(
            nn.Linear(hidden, hidden), nn.Tanh(), nn.Dropout(dropout), nn.Linear(hidden, 1)
        )
        family = family_of(encoder.config)
        self.takes_token_types = family.has_token_types and encoder.config.type_vocab_size > 1
        self.drops_out_in_layers = family.drops_out_in_layers
        self.first_position = family.first_position(encoder.config) if family.packable else None
        if self.first_position is not None:
            encoder.set_attn_implementation(ATTENTION)
        replace_dropout(self)
        for head in (self.span_head, *self.answerability_head):
            if isinstance(head, nn.Linear):
                nn.init.normal_(head.weight, std=getattr(encoder.config, "initializer_range", 0.02))
                nn.init.zeros_(head.bias)

    def forward(self, batch: Batch) -> ReaderOutput:
        """Reads a batch of windows; logits have 32 bits in any number format."""
        if batch.packing is None or self.first_position is None:
            span_logits, looked_at = self._read_padded(batch)
        else:
            span_logits, looked_at = self._read_packed(batch, batch.packing, self.first_position)
        start_logits, end_logits = span_logits.unbind(-1)
        with torch.autocast(looked_at.device.type, enabled=False):
            no_answer_logits = self.answerability_head(looked_at.float()).squeeze(-1)
        return ReaderOutput(start_logits, end_logits, no_answer_logits)

    def _span_logits(self, hidden: Tensor) -> Tensor:
        # In 16 bits, many logits of a window would be equal.
        with torch.autocast(hidden.device.type, enabled=False):
            logits: Tensor = self.span_head(hidden.float())
        return logits

    def _read_padded(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Span logits, shape (windows, tokens, 2), and what the answerability head reads."""
        types = {"token_type_ids": batch.token_type_ids} if self.takes_token_types else {}
        hidden = self.encoder(
            input_ids=batch.input_ids,
            # DeBERTa computes with it.
            attention_mask=batch.attention_mask.long(),
            **types,
        ).last_hidden_state
        span_logits = self._span_logits(hidden)
        padding = ~batch.attention_mask[..., None]
        span_logits = span_logits.masked_fill(padding, float("-inf"))
        if self.answerability_input == "first_token":
            return span_logits, hidden[:, 0]
        of_question = batch.question_mask[..., None].float()
        return span_logits, (hidden.float() * of_question).sum(1) / of_question.sum(1)

    def _read_packed(
        self, batch: Batch, packing: Packing, first_position: int
    ) -> tuple[Tensor, Tensor]:
        """The same, with all windows in one row; only the logits are padded."""
        windows, tokens = batch.input_ids.shape
        types = {}
        if self.takes_token_types:
            types["token_type_ids"] = batch.token_type_ids.flatten()[packing.tokens][None]
        (hidden,) = self.encoder(
            input_ids=batch.input_ids.flatten()[packing.tokens][None],
            position_ids=(first_position + packing.tokens % tokens)[None],
            packing=packing,
            **types,
        ).last_hidden_state
        span_logits = self._span_logits(hidden)
        padded = span_logits.new_full((windows * tokens, 2), float("-inf"))
        padded = padded.index_copy(0, packing.tokens, span_logits)
        padded = padded.view(windows, tokens, 2)
        if self.answerability_input == "first_token":
            return padded, hidden[packing.offsets[:-1]]
        of_question = batch.question_mask.flatten()[packing.tokens, None].float()
        sums, counts = (
            _window_sums(rows, packing, (windows, tokens))
            for rows in (hidden.float() * of_question, of_question)
        )
        return padded, sums / counts


def _window_sums(rows: Tensor, packing: Packing, shape: tuple[int, int]) -> Tensor:
    """Sums over the tokens of each window: what is not finite in one does not reach the others.

    Args:
        rows: Shape: (row, size)
        packing: How windows are laid in the row.
        shape: Number of windows, and of tokens that they are padded to.

    Returns:
        Shape: (windows, size)
    """
    if rows.device.type == "cpu":
        # Each sum has the same order, whatever else is in the batch.
        return torch.stack([part.sum(0) for part in torch.split(rows, list(packing.lengths))])
    # A GPU would start a kernel per window; and a CUDA graph would keep the lengths of one batch.
    padded = rows.new_zeros(shape[0] * shape[1], rows.shape[1])
    return padded.index_copy(0, packing.tokens, rows).view(*shape, -1).sum(1)


def new_reader(config: ModelConfig, *, max_tokens: int, vocabulary: int) -> ReaderModel:
    """Makes a reader from a pre-trained encoder, with random heads.

    Args:
        config: The encoder, and the dropout.
        max_tokens: Tokens of the longest window that it will read.
        vocabulary: Number of entries of the tokenizer.

    Raises:
        InputError: The encoder cannot be loaded, is of an unknown family, is too short for the
            windows, or has fewer embeddings than the tokenizer has entries.
    """
    encoder_config = load_encoder_config(config.source)
    check_fits(encoder_config, config, max_tokens=max_tokens, vocabulary=vocabulary)
    set_dropout(encoder_config, config)
    encoder, loaded = load_weights(
        AutoModel, config.source, encoder_config, **_without_pooling(encoder_config)
    )
    check_complete(loaded, config.source)
    return ReaderModel(encoder, config.dropout, config.answerability_input)


def load_weights(
    kind: Any, source: str, config: PretrainedConfig, **settings: bool
) -> tuple[PreTrainedModel, dict[str, set[str]]]:
    """Loads one of transformers' models in 32 bits, with its report on the names of weights.

    Args:
        kind: transformers' auto class.
        source: Folder or hub id.
        config: The config.json, with any changes.
        settings: Arguments of the model's class.

    Raises:
        InputError: The weights cannot be loaded.
    """
    # Its progress bar, for one file, would be printed above our own. Its report lists every tensor
    # that is not used; what users have to know about these is logged elsewhere.
    disable_progress_bar()  # type: ignore[no-untyped-call]
    set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        model, loaded = kind.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **settings,
        )
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise encoder_error(source, "weights (safetensors)", error) from error
    return model, loaded


def check_complete(loaded: dict[str, set[str]], source: str) -> None:
    """Checks that no weight is random because it is not in the file.

    Raises:
        InputError: A weight is missing.
    """
    if absent := sorted(loaded["missing_keys"]):
        lack = ValueError(f"no {absent[0]} among them, nor {len(absent) - 1} others")
        raise encoder_error(source, "weights (safetensors)", lack)


def empty_reader(
    encoder_config: PretrainedConfig, dropout: float, answerability_input: AnswerabilityInput
) -> ReaderModel:
    """Makes a reader of the given shape, for weights to be loaded."""
    encoder = AutoModel.from_config(  # type: ignore[no-untyped-call]
        encoder_config, trust_remote_code=False, **_without_pooling(encoder_config)
    )
    return ReaderModel(encoder, dropout, answerability_input)


def load_encoder_config(encoder: str) -> PretrainedConfig:
    """Loads an encoder's config.json.

    Raises:
        InputError: There is none, or the encoder is of an unknown family.
    """
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(encoder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise encoder_error(encoder, "a config.json", error) from error
    family_of(config)
    return config


def check_reach(encoder_config: PretrainedConfig, encoder: str, max_tokens: int) -> None:
    """Checks that an encoder has enough positions for the longest window.

    Raises:
        InputError: It has too few.
    """
    positions = family_of(encoder_config).positions(encoder_config)
    if max_tokens > positions:
        raise InputError(
            where="features.max_tokens",
            got=f"{max_tokens} tokens in a window",
            expected=f"at most {positions}, the positions that {encoder} has",
            remedy=f"Run with --params features.max_tokens={positions}, or use another encoder.",
        )


def check_fits(
    encoder_config: PretrainedConfig, config: ModelConfig, *, max_tokens: int, vocabulary: int
) -> None:
    """Checks that an encoder has enough positions and embeddings.

    Raises:
        InputError: It has too few.
    """
    check_reach(encoder_config, config.source, max_tokens)
    if vocabulary > encoder_config.vocab_size:
        raise InputError(
            where=config.source_parameter,
            got=f"a tokenizer with {vocabulary} entries and {encoder_config.vocab_size} embeddings",
            expected="an embedding for each entry of the tokenizer",
            remedy="Put the encoder's own tokenizer into its folder.",
        )


def _without_pooling(encoder_config: PretrainedConfig) -> dict[str, bool]:
    # The heads read the last hidden states, so a pooling layer would not be trained.
    return {"add_pooling_layer": False} if family_of(encoder_config).has_pooling_layer else {}


def set_dropout(encoder_config: PretrainedConfig, config: ModelConfig) -> None:
    """Changes an encoder's dropout, under its family's names of the settings."""
    family = family_of(encoder_config)
    for name in family.hidden_dropout:
        setattr(encoder_config, name, config.dropout)
    for name in family.attention_dropout:
        setattr(encoder_config, name, config.attention_dropout)
