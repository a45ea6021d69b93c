"""What differs between families of encoders.

Oracle: transformers' own encoders, asked with nothing between; each window read alone.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from losses import SERIES
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.batching import Batch, assemble
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.reader.dropout import seed_thread
from roberta_squad_pipeline.reader.families import FAMILIES
from roberta_squad_pipeline.reader.model import (
    ReaderModel,
    check_reach,
    empty_reader,
    new_reader,
)
from roberta_squad_pipeline.squad.dataset import SquadDataset
from roberta_squad_pipeline.training.loss import summed_loss

pytestmark = pytest.mark.usefixtures("one_thread")


def reader_on(folder: Path, dropout: float = 0.0, attention_dropout: float = 0.0) -> ReaderModel:
    config = ModelConfig(
        start=None,
        encoder=str(folder),
        dropout=dropout,
        attention_dropout=attention_dropout,
        answerability_input="first_token",
    )
    return new_reader(config, max_tokens=64, vocabulary=1)


def test_each_window_is_read_as_transformers_reads_it_alone(
    family_folder: Path, family_features: Features
) -> None:
    """So padding changes nothing, and token types are given to those that have them."""
    reader = reader_on(family_folder).eval()
    original = AutoModel.from_pretrained(family_folder).eval()
    typed = original.config.model_type in {"bert", "electra"}
    assert reader.takes_token_types == typed
    batch = assemble(family_features, np.arange(len(family_features.windows.question)))
    with torch.no_grad():
        # Without padding where the family can be read so, and with it.
        read = [reader(batch), reader(replace(batch, packing=None))]
        for index, tokens in enumerate(family_features.window_tokens):
            alone = assemble(family_features, np.array([index]))
            types = {"token_type_ids": alone.token_type_ids} if typed else {}
            hidden = original(input_ids=alone.input_ids, **types).last_hidden_state
            expected = reader.span_head(hidden)[0]
            no_answer = reader.answerability_head(hidden[:, 0])[0, 0]
            for output in read:
                logits = torch.stack([output.start_logits[index], output.end_logits[index]], -1)
                torch.testing.assert_close(logits[:tokens], expected, rtol=0, atol=1e-4)
                mine = output.no_answer_logits[index]
                torch.testing.assert_close(mine, no_answer, rtol=0, atol=1e-4)


def test_convolution_of_the_larger_deberta_v2(
    encoder_of: Any, build: Any, tiny_squad: SquadDataset, window_config: WindowConfig
) -> None:
    """It calculates with the mask; a window reads the same with and without padding."""
    folder = encoder_of("deberta-v2")
    config = AutoConfig.from_pretrained(folder)
    config.conv_kernel_size, config.conv_act = 3, "gelu"
    torch.manual_seed(0)
    reader = empty_reader(config, dropout=0.0, answerability_input="first_token").eval()
    features = build(tiny_squad, folder, window_config)
    shortest = int(features.window_tokens.argmin())
    with torch.no_grad():
        alone = reader(assemble(features, np.array([shortest])))
        together = reader(
            assemble(features, np.array([int(features.window_tokens.argmax()), shortest]))
        )
    tokens = features.window_tokens[shortest]
    torch.testing.assert_close(together.start_logits[1, :tokens], alone.start_logits[0])


@pytest.mark.parametrize(("dropout", "attention_dropout"), [(0.5, 0.0), (0.0, 0.5)])
def test_dropout_is_in_force_while_training_only(
    family_folder: Path, family_features: Features, dropout: float, attention_dropout: float
) -> None:
    batch = assemble(family_features, np.array([0]))
    reader = reader_on(family_folder, dropout, attention_dropout)
    logits = [reader.train(mode)(batch).start_logits[0] for mode in (True, True, False, False)]
    assert not torch.allclose(logits[0], logits[1])
    assert torch.equal(logits[2], logits[3])
    rates = {module.p for module in reader.modules() if isinstance(module, nn.Dropout)}
    assert rates <= {dropout, attention_dropout}


def test_settings_survive_the_way_to_other_processes(family_folder: Path) -> None:
    """`share_reader` sends them as JSON."""
    reader = reader_on(family_folder)
    told = json.loads(json.dumps(reader.encoder.config.to_dict()))
    again = empty_reader(
        AutoConfig.for_model(**told), dropout=0.0, answerability_input="first_token"
    )
    again.load_state_dict(reader.state_dict())
    assert again.encoder.config.to_diff_dict() == reader.encoder.config.to_diff_dict()


SETTINGS: dict[str, dict[str, Any]] = {
    "deberta": {"position_biased_input": True, "relative_attention": False},
    "deberta-v2": {"position_biased_input": True, "relative_attention": False},
}


@pytest.mark.parametrize("model_type", FAMILIES)
def test_windows_may_be_as_long_as_the_positions_reach(model_type: str) -> None:
    """The limit is real: a window of that length is read, and none longer where positions are a
    table."""
    config = AutoConfig.for_model(
        model_type,
        vocab_size=12,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=24,
        **{"pad_token_id": 1, "cls_token_id": 2, "sep_token_id": 3},
        **SETTINGS.get(model_type, {}),
    )
    reader = empty_reader(config, dropout=0.0, answerability_input="first_token").eval()
    reach = FAMILIES[model_type].positions(config)
    check_reach(config, "encoder", reach)
    with pytest.raises(InputError, match=f"at most {reach}"):
        check_reach(config, "encoder", reach + 1)
    assert reader(windows_of(reach)).start_logits.isfinite().all()
    if model_type != "modernbert":  # its positions are rotations
        with pytest.raises((IndexError, RuntimeError)):
            reader(windows_of(reach + 1))


def windows_of(tokens: int) -> Batch:
    ids = torch.full((1, tokens), 5)
    label = torch.zeros(1, dtype=torch.long)
    labels = (label,) * 4
    return Batch(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids), *labels)


def test_unknown_family_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "funnel"}))
    with pytest.raises(InputError) as caught:
        reader_on(tmp_path)
    assert caught.value.where == f"model.encoder={tmp_path}"
    assert caught.value.got == "an encoder of type funnel"
    assert "deberta-v2" in caught.value.expected


def test_a_thread_of_its_own_random_numbers_drops_out_by_them_alone(
    family_folder: Path, family_features: Features
) -> None:
    """In families that are read in lanes; and every weight has a gradient there."""
    reader = reader_on(family_folder, dropout=0.1, attention_dropout=0.1).train()
    batch = assemble(family_features, np.arange(len(family_features.windows.question)))

    def gradients(own: int, others: int) -> list[Tensor]:
        torch.manual_seed(others)
        seed_thread(own)
        loss = summed_loss(reader(batch), batch, SERIES)
        return [loss, *torch.autograd.grad(loss, list(reader.parameters()))]

    with ThreadPoolExecutor(1) as thread:
        read = list(thread.map(gradients, (1, 1, 2), (7, 8, 8)))
    same = all(torch.equal(one, other) for one, other in zip(read[0], read[1], strict=True))
    assert same == reader.drops_out_in_layers
    assert not torch.equal(read[1][0], read[2][0])
