"""The differences between families of encoders, in one table.

Names are transformers' names of an encoder's parameters and settings.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from transformers import PretrainedConfig

from roberta_squad_pipeline.common.errors import InputError


@dataclass(frozen=True, slots=True)
class Family:
    """Encoders of the same design.

    Parameters are recognised by the beginnings of their names.
    """

    blocks: str = "encoder.layer."
    """Beginning of the names in stacked blocks; the block's number, from 0, follows."""
    before_blocks: tuple[str, ...] = ("embeddings.",)
    """Parameters before the first block, or shared by all blocks."""
    after_first_block: tuple[str, ...] = ()
    """Parameters that change the first block's output."""
    after_last_block: tuple[str, ...] = ()
    """Parameters that change the last block's output."""
    hidden_dropout: tuple[str, ...] = ("hidden_dropout_prob",)
    """Settings for the dropout of hidden values."""
    attention_dropout: tuple[str, ...] = ("attention_probs_dropout_prob",)
    """Settings for the dropout of attention weights."""
    has_token_types: bool = True
    """Whether embeddings may distinguish passage and question; `type_vocab_size` is the number of
    types."""
    has_pooling_layer: bool = True
    """Whether it has one by default."""
    counts_after_padding: bool = False
    """Whether positions start after the padding id."""
    packable: bool = True
    """Whether windows can be laid end to end in one row: only attention looks beyond a token, and
    it uses transformers' interface."""

    drops_out_in_layers: bool = True
    """Whether all dropout is in dropout layers, or in attention through transformers' interface:
    then every thread can have random numbers of its own."""

    def first_position(self, config: PretrainedConfig) -> int:
        """Position of a window's first token."""
        return int(config.pad_token_id) + 1 if self.counts_after_padding else 0

    def positions(self, config: PretrainedConfig) -> int:
        """Number of tokens in the longest window that an encoder can read."""
        return int(config.max_position_embeddings) - self.first_position(config)

    def layer_depths(self, parameters: Iterable[str]) -> dict[str, int]:
        """Computes the depth of each parameter of an encoder.

        A parameter that changes a block's output belongs to that block.

        Args:
            parameters: The names of all parameters.

        Returns:
            By name: 0 below the blocks, i + 1 in block i.

        Raises:
            InputError: A parameter belongs to no known part of the family.
        """
        names = list(parameters)
        block = re.compile(rf"{re.escape(self.blocks)}(\d+)\.")
        layer_depths = {name: int(found[1]) + 1 for name in names if (found := block.match(name))}
        others = {
            **dict.fromkeys(self.before_blocks, 0),
            **dict.fromkeys(self.after_first_block, 1),
            **dict.fromkeys(self.after_last_block, max(layer_depths.values(), default=0)),
        }
        for name in names:
            for beginning, depth in others.items():
                if name.startswith(beginning):
                    layer_depths[name] = depth
            if name not in layer_depths:
                raise InputError(
                    where="model.encoder",
                    got=f"a parameter {name}, whose depth and learning rate are not known",
                    expected=f"{self.blocks}0 and so on, {', '.join(others)}",
                    remedy="Use another encoder, or this one as its authors published it.",
                )
        return layer_depths


_BERT = Family()
_ROBERTA = Family(counts_after_padding=True)
_DEBERTA = Family(
    # All blocks share a table of relative positions and its LayerNorm.
    before_blocks=("embeddings.", "encoder.rel_embeddings.", "encoder.LayerNorm."),
    after_first_block=("encoder.conv.",),
    has_pooling_layer=False,
    packable=False,
)

FAMILIES = {
    "albert": Family(
        # Its blocks share their weights; each group of blocks counts as one.
        blocks="encoder.albert_layer_groups.",
        before_blocks=("embeddings.", "encoder.embedding_hidden_mapping_in."),
    ),
    "bert": _BERT,
    "camembert": _ROBERTA,
    "deberta": _DEBERTA,
    "deberta-v2": _DEBERTA,
    "distilbert": Family(
        blocks="transformer.layer.",
        hidden_dropout=("dropout",),
        attention_dropout=("attention_dropout",),
        has_token_types=False,
        has_pooling_layer=False,
    ),
    "electra": Family(
        before_blocks=("embeddings.", "embeddings_project."),
        has_pooling_layer=False,
    ),
    "ernie": _BERT,
    "modernbert": Family(
        blocks="layers.",
        after_last_block=("final_norm.",),
        hidden_dropout=("embedding_dropout", "mlp_dropout"),
        attention_dropout=("attention_dropout",),
        has_token_types=False,
        has_pooling_layer=False,
        # Most of its blocks look only a few tokens far.
        packable=False,
        drops_out_in_layers=False,
    ),
    "mpnet": replace(
        _ROBERTA,
        before_blocks=("embeddings.", "encoder.relative_attention_bias."),
        has_token_types=False,
        packable=False,
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "xlm-roberta-xl": replace(_ROBERTA, after_last_block=("encoder.LayerNorm.",)),
}
"""By `model_type` in config.json; DeBERTa-v3 has the type deberta-v2."""


def family_of(config: PretrainedConfig) -> Family:
    """The family that an encoder belongs to.

    Raises:
        InputError: The family is unknown.
    """
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise InputError(
            where=f"model.encoder={config.name_or_path}",
            got=f"an encoder of type {config.model_type}",
            expected=f"one of {', '.join(FAMILIES)}",
            remedy="Use an encoder of one of these families; docs/encoders.md says how to add one.",
        )
    return family
