"""What differs from one family of encoders to another, in one table.

Names are those that transformers gives to an encoder's parameters and settings.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from transformers import PretrainedConfig

from roberta_squad_pipeline.common.errors import InputError


@dataclass(frozen=True, slots=True)
class Family:
    """Encoders that are built alike.

    Parameters are recognised by how their names begin.
    """

    blocks: str = "encoder.layer."
    """Of the stacked blocks; their number, from 0 on, comes next."""
    before_blocks: tuple[str, ...] = ("embeddings.",)
    """Of all that comes before the first block, or is given to every block."""
    after_first_block: tuple[str, ...] = ()
    """Of what changes the first block's output."""
    after_last_block: tuple[str, ...] = ()
    """Of what changes the last block's output."""
    hidden_dropout: tuple[str, ...] = ("hidden_dropout_prob",)
    """Settings with the share of hidden values that is dropped."""
    attention_dropout: tuple[str, ...] = ("attention_probs_dropout_prob",)
    """Settings with the share of attention weights that is dropped."""
    has_token_types: bool = True
    """Whether it may tell passage and question apart by an embedding; `type_vocab_size` says of how
    many types."""
    has_pooling_layer: bool = True
    """Whether it comes with one unless told otherwise."""
    counts_after_padding: bool = False
    """Whether the first token's position is the one after the padding id."""
    packable: bool = True
    """Whether windows can lie end to end in one row: nothing but attention, which goes through
    transformers' interface, looks beyond a token."""

    drops_out_in_layers: bool = True
    """Whether what it drops out, it drops out in layers for it, or in attention through
    transformers' interface: then every thread can have random numbers of its own."""

    def first_position(self, config: PretrainedConfig) -> int:
        """Position of a window's first token."""
        return int(config.pad_token_id) + 1 if self.counts_after_padding else 0

    def positions(self, config: PretrainedConfig) -> int:
        """Tokens of the longest window that an encoder was built for."""
        return int(config.max_position_embeddings) - self.first_position(config)

    def layer_depths(self, parameters: Iterable[str]) -> dict[str, int]:
        """At which depth each parameter of an encoder acts.

        What changes a block's output counts as part of that block.

        Args:
            parameters: The names of all of them.

        Returns:
            0 below the blocks, i + 1 in block i.

        Raises:
            InputError: One belongs to no known part of the family.
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
                    got=f"a parameter {name}, of which it is not known at which rate it learns",
                    expected=f"{self.blocks}0 and so on, {', '.join(others)}",
                    remedy="Use another encoder, or one as its authors published it.",
                )
        return layer_depths


_BERT = Family()
_ROBERTA = Family(counts_after_padding=True)
_ELECTRA = Family(
    before_blocks=("embeddings.", "embeddings_project."),
    has_pooling_layer=False,
)
_DEBERTA = Family(
    # One table of relative positions, and its LayerNorm, are given to every block.
    before_blocks=("embeddings.", "encoder.rel_embeddings.", "encoder.LayerNorm."),
    after_first_block=("encoder.conv.",),
    has_pooling_layer=False,
    packable=False,
)

FAMILIES = {
    "albert": Family(
        # Its blocks share their weights: each group of them counts as one.
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
    "electra": _ELECTRA,
    "ernie": _BERT,
    "modernbert": Family(
        blocks="layers.",
        after_last_block=("final_norm.",),
        hidden_dropout=("embedding_dropout", "mlp_dropout"),
        attention_dropout=("attention_dropout",),
        has_token_types=False,
        has_pooling_layer=False,
        # Most of its blocks look no further than a few tokens.
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
"""By the `model_type` of their config.json. DeBERTa-v3 is of type deberta-v2."""


def family_of(config: PretrainedConfig) -> Family:
    """The family that an encoder belongs to.

    Raises:
        InputError: It is not a known one.
    """
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise InputError(
            where=f"model.encoder={config.name_or_path}",
            got=f"an encoder of type {config.model_type}",
            expected=f"one of {', '.join(FAMILIES)}",
            remedy="Use an encoder of one of these families; docs/encoders.md says how one more "
            "is added.",
        )
    return family
