"""Tiny encoders of several families, made on the fly: random weights, tokenizers of their own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

POSITIONS = 64
"""Tokens in the longest window that the tiny encoders take."""

CORPUS = [
    "The Amazon rises in the Andes and flows east into the Atlantic Ocean.",
    "When was the old bridge over the river built? It was built in 1889 by two brothers.",
    "Who wrote the first letter? Where does the road to the harbour begin?",
    "Zoë paid 1,200 francs (about £48) for a café near the naïve painter's house.",
]


def make_roberta(folder: Path) -> Path:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        CORPUS, vocab_size=400, min_frequency=1, special_tokens=special, show_progress=False
    )
    trained.save_model(str(folder))
    tokenizer = RobertaTokenizerFast.from_pretrained(folder)
    # As published: one type of token, and positions that count from behind the padding id.
    config = RobertaConfig(
        **_tiny(tokenizer), type_vocab_size=1, max_position_embeddings=POSITIONS + 2
    )
    return _saved(RobertaModel, config, tokenizer, folder)


def make_bert(folder: Path) -> Path:
    from transformers import BertConfig, BertModel

    tokenizer = _word_piece(folder)
    config = BertConfig(**_tiny(tokenizer), max_position_embeddings=POSITIONS)
    return _saved(BertModel, config, tokenizer, folder)


def make_electra(folder: Path) -> Path:
    """As published: embeddings narrower than the layers."""
    from transformers import ElectraConfig, ElectraModel

    tokenizer = _word_piece(folder)
    config = ElectraConfig(**_tiny(tokenizer), embedding_size=16, max_position_embeddings=POSITIONS)
    return _saved(ElectraModel, config, tokenizer, folder)


def make_deberta_v3(folder: Path) -> Path:
    """With version 3's settings: positions are relative alone, and there are no token types."""
    from transformers import DebertaV2Config, DebertaV2Model

    pieces = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]"}
    ids = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "unk_piece": "[UNK]"}
    tokenizer = _sentence_piece(folder, "deberta-v2", "spm.model", **pieces, **ids)
    config = DebertaV2Config(
        **_tiny(tokenizer),
        max_position_embeddings=POSITIONS,
        relative_attention=True,
        position_buckets=16,
        pos_att_type="p2c|c2p",
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
        max_relative_positions=-1,
        layer_norm_eps=1e-7,
        type_vocab_size=0,
    )
    return _saved(DebertaV2Model, config, tokenizer, folder)


def make_modernbert(folder: Path) -> Path:
    """Its second layer sees no further than eight tokens to either side."""
    from tokenizers import (
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import ModernBertConfig, ModernBertModel, PreTrainedTokenizerFast

    special = {name: f"[{name.upper()}]" for name in ("unk", "cls", "sep", "pad", "mask")}
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trained.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=list(special.values()),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    trained.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(mark, trained.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained, **{f"{name}_token": token for name, token in special.items()}
    )
    ids = {
        "bos_token_id": tokenizer.cls_token_id,
        "cls_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
    }
    config = ModernBertConfig(
        **_tiny(tokenizer), **ids, max_position_embeddings=POSITIONS, local_attention=16
    )
    return _saved(ModernBertModel, config, tokenizer, folder)


def make_xlm_roberta(folder: Path) -> Path:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    tokenizer = _sentence_piece(folder, "xlm-roberta", "sentencepiece.bpe.model")
    config = XLMRobertaConfig(
        **_tiny(tokenizer), type_vocab_size=1, max_position_embeddings=POSITIONS + 2
    )
    return _saved(XLMRobertaModel, config, tokenizer, folder)


def _word_piece(folder: Path) -> "PreTrainedTokenizerFast":
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    trained = BertWordPieceTokenizer()
    trained.train_from_iterator(CORPUS, vocab_size=200, min_frequency=1, show_progress=False)
    trained.save_model(str(folder))
    return BertTokenizerFast.from_pretrained(folder)


def _sentence_piece(
    folder: Path, model_type: str, file_name: str, **pieces: object
) -> "PreTrainedTokenizerFast":
    """In the form in which it is published: SentencePiece's own file, and no tokenizer.json."""
    from sentencepiece import SentencePieceTrainer
    from transformers import AutoTokenizer

    with (folder / file_name).open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS * 4),
            model_writer=file,
            vocab_size=120,
            hard_vocab_limit=False,
            minloglevel=2,
            **pieces,
        )
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return AutoTokenizer.from_pretrained(folder)


def _tiny(tokenizer: "PreTrainedTokenizerFast") -> dict[str, float]:
    # Weights wider than usual, so that an encoder with random ones tells tokens apart.
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "initializer_range": 0.2,
    }


def _saved(
    kind: "type[PreTrainedModel]",
    config: object,
    tokenizer: "PreTrainedTokenizerFast",
    folder: Path,
) -> Path:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


MAKERS: dict[str, Callable[[Path], Path]] = {
    "roberta": make_roberta,
    "bert": make_bert,
    "electra": make_electra,
    "deberta-v2": make_deberta_v3,
    "modernbert": make_modernbert,
    "xlm-roberta": make_xlm_roberta,
}
"""Each fills a folder."""
