"""One update, and the loop around it.

Oracles: the recipe's formulas in float64, window by window; Adam and its decoupled decay written
out; transformers' names of the encoder's parts for what learns at which rate.
"""

import copy
import logging
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from roberta_squad_pipeline.common.arrays import IndexArray
from roberta_squad_pipeline.common.errors import InputError, TrainingError
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.distributed.stopping import StopRequest
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.inference.prediction import predict
from roberta_squad_pipeline.reader.batching import (
    Batch,
    assemble,
    micro_batches,
    split_update,
    thinning_of,
    update_windows,
)
from roberta_squad_pipeline.reader.config import InferenceConfig, ModelConfig
from roberta_squad_pipeline.reader.model import ReaderModel, ReaderOutput, new_reader
from roberta_squad_pipeline.squad.dataset import SquadDataset
from roberta_squad_pipeline.training import loop
from roberta_squad_pipeline.training.checkpoint import Checkpoints
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.learning_rates import build_optimizer, set_learning_rates
from roberta_squad_pipeline.training.loop import fit_reader
from roberta_squad_pipeline.training.loss_scale import LossScaler
from roberta_squad_pipeline.training.records import EvaluationRecord, Record, UpdateRecord
from roberta_squad_pipeline.training.step import train_step
from roberta_squad_pipeline.training.validation import Validation

pytestmark = pytest.mark.usefixtures("one_thread")
one_encoder = pytest.mark.parametrize("encoder_folder", ["roberta"], indirect=True)
"""What the loop does around an update is the same for every family: test_every_family.py."""
CPU = torch.device("cpu")


def changed(config: TrainingConfig, **changes: object) -> TrainingConfig:
    """The settings with some changed, `loss_scale__initial` and the like too."""
    values = config.model_dump()
    for name, value in changes.items():
        section, _, inner = name.partition("__")
        if inner:
            values[section][inner] = value
        else:
            values[name] = value
    return TrainingConfig(**values)


def train_with(
    reader: ReaderModel,
    features: Features,
    config: TrainingConfig,
    on_update: Callable[[UpdateRecord], None],
    *,
    folder: Path | None = None,
    stop: StopRequest | None = None,
    validation: Validation | None = None,
    on_evaluation: Callable[[EvaluationRecord], None] = lambda _: None,
) -> bool:
    with tempfile.TemporaryDirectory() as temporary:
        return fit_reader(
            reader,
            features,
            config,
            validation=validation,
            processes=Processes.alone(CPU),
            strategy="ddp",
            checkpoints=Checkpoints(folder or Path(temporary)),
            stop=stop or StopRequest(),
            on_record=lambda record: (
                on_update(record) if isinstance(record, UpdateRecord) else on_evaluation(record)
            ),
        )


def train(
    reader: ReaderModel, features: Features, config: TrainingConfig, folder: Path | None = None
) -> list[UpdateRecord]:
    records: list[UpdateRecord] = []
    assert train_with(reader, features, config, records.append, folder=folder)
    return records


def one_update(
    reader: ReaderModel,
    features: Features,
    config: TrainingConfig,
    optimizer: torch.optim.Optimizer,
) -> float:
    """The run's first update, at whatever rates the optimiser has."""
    tokens = features.window_tokens
    drawn = update_windows(len(tokens), config.batch_size, config.seed, 1)
    split = split_update(config.batch_size, 1, config.micro_batch)
    batches = [assemble(features, piece) for piece in micro_batches(drawn, tokens, split, 0)]
    scaler = LossScaler(config.loss_scale, enabled=config.precision == "fp16", device=CPU)
    alone = Processes.alone(CPU)
    return train_step(reader, batches, optimizer, scaler, config, processes=alone).item()


def standing_still(reader: ReaderModel) -> torch.optim.Optimizer:
    """Leaves weights and gradients as they are."""
    return torch.optim.SGD(reader.parameters(), lr=0.0)


def gradients(reader: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad.clone() for name, parameter in reader.named_parameters()}


def weights(reader: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in reader.named_parameters()}


class Asked(TorchDispatchMode):
    """Notes every operation whose result the host has to wait for."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if func.overloadpacket.__name__ in self.WAITS:
            self.operations.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_update_waits_for_no_result(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig, precision: str
) -> None:
    """On a GPU the host runs ahead until it asks for the loss, here by `item`."""
    config = changed(recipe, precision=precision, max_grad_norm=1.0)
    optimizer = build_optimizer(tiny_reader, config)
    with Asked() as asked:
        one_update(tiny_reader, tiny_features, config, optimizer)
    assert asked.operations == ["aten._local_scalar_dense.default"]


def slow_loss(reader: ReaderModel, features: Features, index: int) -> Tensor:
    """(CE(start) + CE(end)) / 2 + 0.5 · BCE of one window alone, from its hidden states.

    Cross-entropy is log Σ e^x - x[target], binary cross-entropy log(1 + e^x) - x · target.
    """
    batch = assemble(features, np.array([index]))
    types = {"token_type_ids": batch.token_type_ids} if reader.takes_token_types else {}
    hidden = reader.encoder(input_ids=batch.input_ids, **types).last_hidden_state[0]
    span_logits = hidden @ reader.span_head.weight.T + reader.span_head.bias
    inner, outer = reader.answerability_head[0], reader.answerability_head[3]
    no_answer = (
        torch.tanh(hidden[0] @ inner.weight.T + inner.bias) @ outer.weight[0] + outer.bias[0]
    )
    start = int(features.windows.start[index])
    end = int(features.windows.end[index])
    loss = torch.log1p(torch.exp(no_answer)) - (no_answer if start == 0 else 0.0)
    for logits, target in zip(span_logits.T, (start, end), strict=True):
        loss = loss + torch.log(torch.exp(logits).sum()) - logits[target]
    return loss / 2


@pytest.mark.parametrize("micro_batch", [11, 4, 1])
def test_loss_and_gradients_of_an_update_equal_float64(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig, micro_batch: int
) -> None:
    """To 1e-5 of the largest gradient, the noise of float32."""
    config = changed(recipe, batch_size=11, micro_batch=micro_batch)
    exact = copy.deepcopy(tiny_reader).double()
    drawn = update_windows(len(tiny_features.window_tokens), 11, config.seed, 1)
    losses = [slow_loss(exact, tiny_features, int(index)) for index in drawn]
    assert 0 < np.count_nonzero(tiny_features.windows.start[drawn]) < 11
    expected = torch.stack(losses).sum() / 11
    expected.backward()
    loss = one_update(tiny_reader, tiny_features, config, standing_still(tiny_reader))
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    mine, truth = gradients(tiny_reader), gradients(exact)
    largest = max(gradient.abs().max().item() for gradient in truth.values())
    for name, gradient in mine.items():
        torch.testing.assert_close(
            gradient.double(), truth[name], rtol=1e-4, atol=1e-5 * largest, msg=name
        )


def test_one_micro_batch_equals_four(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig
) -> None:
    """Losses to 1e-6, every gradient to 1e-5 of the largest one: float32 sums in another order."""
    losses, found = [], []
    for micro_batch in (8, 2):
        config = changed(recipe, micro_batch=micro_batch)
        losses.append(one_update(tiny_reader, tiny_features, config, standing_still(tiny_reader)))
        found.append(gradients(tiny_reader))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    largest = max(gradient.abs().max().item() for gradient in found[0].values())
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-4, atol=1e-5 * largest)


def test_two_steps_equal_adam_written_out(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig
) -> None:
    """Loshchilov and Hutter: decay is taken off the weight itself, lr · 0.01 · w, and not off all.

    Every parameter has its own rate and decay, told by its name.
    """
    config = changed(recipe, updates=10, warmup_updates=4)
    (b1, b2), eps = config.betas, config.eps
    optimizer = build_optimizer(tiny_reader, config)
    expected = {name: w.double() for name, w in weights(tiny_reader).items()}
    mean = {name: torch.zeros_like(w) for name, w in expected.items()}
    square = {name: torch.zeros_like(w) for name, w in expected.items()}
    for step in (1, 2):
        set_learning_rates(optimizer, step, config)
        one_update(tiny_reader, tiny_features, config, optimizer)
        for name, gradient in gradients(tiny_reader).items():
            g = gradient.double()
            mean[name] = b1 * mean[name] + (1 - b1) * g
            square[name] = b2 * square[name] + (1 - b2) * g * g
            lr = config.lr * 0.75 ** layers_below_the_heads(name) * step / 4
            decay = 0.0 if name.endswith(".bias") or "LayerNorm" in name else 0.01
            m, v = mean[name] / (1 - b1**step), square[name] / (1 - b2**step)
            expected[name] = expected[name] * (1 - lr * decay) - lr * m / (v.sqrt() + eps)
    for name, weight in weights(tiny_reader).items():
        torch.testing.assert_close(weight.double(), expected[name], rtol=1e-6, atol=1e-6, msg=name)


def layers_below_the_heads(name: str) -> int:
    """Of a reader with two blocks: 0 for the heads, 1 for the upper block, 2 for what is below."""
    return 2 - name.startswith("encoder.encoder.layer.1.") - 2 * (not name.startswith("encoder."))


def rates_by_part(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Learning rate of each part, whatever its decay."""
    rates: dict[str, set[float]] = {}
    for group in optimizer.param_groups:
        rates.setdefault(group["name"], set()).add(group["lr"])
    assert all(len(found) == 1 for found in rates.values())
    return {part: found.pop() for part, found in rates.items()}


@pytest.fixture
def seen_rates(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """Rates of all parts, read from the optimiser right before each of its steps."""
    seen: list[dict[str, float]] = []

    def watched(*args: object) -> torch.optim.Optimizer:
        optimizer = build_optimizer(*args)
        optimizer.register_step_pre_hook(lambda used, *_: seen.append(rates_by_part(used)))
        return optimizer

    monkeypatch.setattr(loop, "build_optimizer", watched)
    return seen


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("decay", [0.75, 1.0])
def test_layer_wise_rates_are_in_force_while_training(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    seen_rates: list[dict[str, float]],
    decay: float,
    power: float,
) -> None:
    """Twenty updates, four of warm-up: rates at 0, 1, 4, half-way down at 12, and at the last."""
    config = changed(recipe, layer_decay=decay, decay_power=power, batch_size=2)
    optimizer = build_optimizer(tiny_reader, config)
    set_learning_rates(optimizer, 0, config)
    before_training = rates_by_part(optimizer)
    records = train(tiny_reader, tiny_features, config)
    rates = [before_training, *seen_rates]
    assert len(rates) == 21
    for update, share in {0: 0.0, 1: 0.25, 4: 1.0, 12: 0.5**power, 20: 0.0}.items():
        peaks = {"heads": 1e-3, "block 1": 1e-3 * decay, "block 0": 1e-3 * decay**2}
        peaks["embeddings"] = peaks["block 0"]
        expected = {part: peak * share for part, peak in peaks.items()}
        assert rates[update] == pytest.approx(expected, rel=1e-12, abs=0), update
    # What the run reports is what was in force.
    for record, in_force in zip(records, seen_rates, strict=True):
        assert record.lr_highest == in_force["heads"]
        assert record.lr_lowest == in_force["embeddings"]


def test_parts_move_with_their_rates(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig
) -> None:
    """Adam's first step is the rate itself, whatever the gradient, where there is one."""
    config = changed(recipe, updates=2, warmup_updates=1, lr=1e-2, weight_decay=0.0, eps=1e-12)
    before = weights(tiny_reader)
    # The last update has rate 0.
    train(tiny_reader, tiny_features, config)
    for name, after in weights(tiny_reader).items():
        moved = (after - before[name]).abs().max().item()
        expected = 1e-2 * 0.75 ** layers_below_the_heads(name)
        if moved > 1e-9:
            assert moved == pytest.approx(expected, rel=1e-3), name


@pytest.fixture
def quick(recipe: TrainingConfig) -> TrainingConfig:
    """Enough updates to learn eight questions by heart."""
    return changed(
        recipe, updates=80, warmup_updates=5, lr=1e-2, layer_decay=1.0, batch_size=24, micro_batch=8
    )


@one_encoder
def test_a_handful_of_questions_is_learnt_by_heart(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    tiny_squad: SquadDataset,
    quick: TrainingConfig,
) -> None:
    """The mean loss falls from above 2 to below 0.1, and every question gets its gold answer."""
    records = train(tiny_reader, tiny_features, quick)
    assert records[0].loss > 2
    assert max(record.loss for record in records[-5:]) < 0.1
    inference = InferenceConfig(
        batch_windows=8, precision="fp32", max_answer_tokens=48, n_best=5, null_score="best_span"
    )
    predictions = predict(
        tiny_reader, tiny_features, inference, device=CPU, on_windows=lambda _: None
    )
    for prediction, question in zip(predictions, tiny_squad.questions, strict=True):
        assert (prediction.no_answer_logit > 0) == question.unanswerable
        if not question.unanswerable:
            found = prediction.candidates[0]
            assert (found.char_start, len(found.text)) == (
                question.answers[0].start,
                len(question.answers[0].text),
            )


@one_encoder
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_like_single(
    tiny_reader: ReaderModel, tiny_features: Features, quick: TrainingConfig, precision: str
) -> None:
    """The same losses within a tenth while they fall by a third, with 32-bit weights."""
    quick = changed(quick, updates=12, warmup_updates=0, batch_size=12)
    single = train(copy.deepcopy(tiny_reader), tiny_features, quick)
    half = train(tiny_reader, tiny_features, changed(quick, precision=precision))
    assert [r.loss for r in half] == pytest.approx([r.loss for r in single], rel=0.1, abs=0.1)
    assert half[-1].loss < 0.7 * half[0].loss
    assert half != single
    assert {parameter.dtype for parameter in tiny_reader.parameters()} == {torch.float32}


@one_encoder
def test_record_says_what_an_update_did(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig
) -> None:
    """The first record is of the loss before any step."""
    still = copy.deepcopy(tiny_reader)
    before = one_update(still, tiny_features, recipe, standing_still(still))
    records = train(tiny_reader, tiny_features, recipe)
    assert [record.update for record in records] == list(range(1, 21))
    assert records[0].loss == pytest.approx(before, rel=1e-6)
    assert {record.windows for record in records} == {8}
    assert {record.loss_scale for record in records} == {1.0}


def with_dropout(folder: Path) -> ReaderModel:
    torch.manual_seed(5)
    config = ModelConfig(
        start=None,
        encoder=str(folder),
        dropout=0.1,
        attention_dropout=0.1,
        answerability_input="first_token",
    )
    return new_reader(config, max_tokens=64, vocabulary=1)


@pytest.fixture(params=[1, 3])
def lanes(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many a reader is trained in: as many as torch has threads."""
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


@one_encoder
def test_seed_decides_everything(
    encoder_folder: Path, tiny_features: Features, recipe: TrainingConfig, lanes: int
) -> None:
    """The same seed gives the same losses and weights, bit by bit, dropout included."""
    recipe = changed(recipe, batch_size=4 * lanes)
    runs = []
    for seed in (1, 1, 2):
        reader = with_dropout(encoder_folder)
        # Whatever happened before must not matter.
        torch.manual_seed(100 + len(runs))
        records = train(reader, tiny_features, changed(recipe, seed=seed, updates=5))
        runs.append(([record.loss for record in records], weights(reader)))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(runs[0][1][name], weight) for name, weight in runs[1][1].items())
    assert runs[0][0] != runs[2][0]


@one_encoder
@pytest.mark.parametrize("max_grad_norm", [None, 0.1])
def test_lanes_make_the_updates_that_one_makes(
    encoder_folder: Path,
    tiny_features: Features,
    recipe: TrainingConfig,
    max_grad_norm: float | None,
) -> None:
    """Without dropout, but for the order in which gradients are added up."""
    config = changed(recipe, batch_size=12, max_grad_norm=max_grad_norm, lr=1e-3)
    made = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        torch.manual_seed(5)
        start = ModelConfig(
            start=None,
            encoder=str(encoder_folder),
            dropout=0.0,
            attention_dropout=0.0,
            answerability_input="first_token",
        )
        reader = new_reader(start, max_tokens=64, vocabulary=1)
        records = train(reader, tiny_features, config)
        made.append(([record.loss for record in records], weights(reader)))
    torch.set_num_threads(1)
    (losses, one), (others, several) = made
    assert losses != [0.0] * len(losses)
    assert losses == pytest.approx(others, rel=1e-4)
    # It moves all logits alike, so its gradient is nothing but rounding, which Adam scales up.
    del one["span_head.bias"]
    for name, value in one.items():
        torch.testing.assert_close(several[name], value, rtol=1e-3, atol=1e-4)


def test_dropout_is_on_while_training(
    encoder_folder: Path, tiny_features: Features, recipe: TrainingConfig
) -> None:
    losses = []
    for reader in (with_dropout(encoder_folder), with_dropout(encoder_folder)):
        if losses:
            for module in reader.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
        reader.eval()
        losses.append(train(reader, tiny_features, changed(recipe, updates=5))[0].loss)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_loss_that_is_no_number_ends_the_run(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig, precision: str
) -> None:
    """A weight breaks before the second update, whose rate is 2 / 4 of 1e-3 in warm-up."""
    records: list[UpdateRecord] = []

    def on_update(record: UpdateRecord) -> None:
        records.append(record)
        with torch.no_grad():
            tiny_reader.span_head.bias[0] = math.nan

    config = changed(recipe, precision=precision)
    with pytest.raises(TrainingError) as caught:
        train_with(tiny_reader, tiny_features, config, on_update)
    message = str(caught.value)
    for fact in ("loss nan", "update 2 of 20", "learning rate 0.0005", precision, "training.lr"):
        assert fact in message
    assert [record.update for record in records] == [1]


@one_encoder
def test_fp16_scale_grows_while_all_goes_well(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig
) -> None:
    """From 4, doubled after every three updates; a record tells the scale of the next update."""
    config = changed(recipe, precision="fp16", loss_scale__growth_updates=3, updates=7, lr=1e-4)
    records = train(tiny_reader, tiny_features, config)
    assert [record.loss_scale for record in records] == [4.0, 4.0, 8.0, 8.0, 8.0, 16.0, 16.0]


HUGE = 2.0**32


@one_encoder
@pytest.mark.parametrize("max_grad_norm", [None, 1.0])
def test_what_overflows_fp16_is_no_update(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    tmp_path: Path,
    max_grad_norm: float | None,
) -> None:
    """As in fairseq, whose schedule stands still meanwhile and whose next windows are tried.

    Oracle: a run whose first windows are those that were tried last. Gradients of 2^32 times their
    size are above the largest number of fp16, 65,504. A run that is stopped goes on alike.
    """
    config = changed(
        recipe,
        precision="fp16",
        loss_scale__initial=HUGE,
        updates=4,
        warmup_updates=2,
        max_grad_norm=max_grad_norm,
    )
    before = {name: value.clone() for name, value in tiny_reader.state_dict().items()}
    records = train(tiny_reader, tiny_features, config)
    after = weights(tiny_reader)
    skipped = int(math.log2(HUGE / records[0].loss_scale))
    assert skipped > 10
    assert [record.update for record in records] == [1, 2, 3, 4]

    def later(windows: int, size: int, seed: int, attempt: int, thinning: None) -> IndexArray:
        return update_windows(windows, size, seed, attempt + skipped, thinning)

    tiny_reader.load_state_dict(before)
    calm = changed(config, loss_scale__initial=records[0].loss_scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "update_windows", later)
        expected = train(tiny_reader, tiny_features, calm)
    assert without_time(records) == without_time(expected)
    assert all(torch.equal(value, after[name]) for name, value in weights(tiny_reader).items())

    tiny_reader.load_state_dict(before)
    stop, folder = StopAt(2), tmp_path / "stopped"
    assert not train_with(
        tiny_reader, tiny_features, config, lambda _: None, folder=folder, stop=stop
    )
    assert without_time(train(tiny_reader, tiny_features, config, folder)) == without_time(records)
    assert all(torch.equal(value, after[name]) for name, value in weights(tiny_reader).items())


def test_fp16_stops_after_skips_at_the_minimum(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig
) -> None:
    """One skip halves the scale to its floor, three more there are the end."""
    config = changed(
        recipe,
        precision="fp16",
        loss_scale__initial=2 * HUGE,
        loss_scale__minimum=HUGE,
        loss_scale__skips_at_minimum=3,
    )
    records: list[UpdateRecord] = []
    with pytest.raises(TrainingError, match="update 1 of 20: got the last 3 attempts at it"):
        train_with(tiny_reader, tiny_features, config, records.append)
    assert not records


@pytest.mark.parametrize(("precision", "slack"), [("fp32", 1e-5), ("fp16", 2e-2)])
def test_clipping_bounds_the_gradient_norm(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    precision: str,
    slack: float,
) -> None:
    """Gradients are scaled down together, and left alone when they are below the bound."""
    config = changed(recipe, precision=precision)

    def clipped_to(bound: float | None) -> Tensor:
        limited = changed(config, max_grad_norm=bound)
        one_update(tiny_reader, tiny_features, limited, standing_still(tiny_reader))
        return torch.cat([gradient.flatten() for gradient in gradients(tiny_reader).values()])

    loose, tight = clipped_to(1e6), clipped_to(0.01)
    norm = loose.norm().item()
    assert norm > 0.1
    assert tight.norm().item() == pytest.approx(0.01, rel=1e-4)
    torch.testing.assert_close(tight, loose * (0.01 / norm), rtol=slack, atol=slack * 0.01)
    if precision == "fp32":
        assert torch.equal(clipped_to(None), loose)


def test_settings_of_the_optimiser_reach_it(
    tiny_reader: ReaderModel, recipe: TrainingConfig
) -> None:
    config = changed(recipe, betas=(0.8, 0.7), eps=1e-3)
    for group in build_optimizer(tiny_reader, config).param_groups:
        assert (group["betas"], group["eps"]) == ((0.8, 0.7), 1e-3)


@one_encoder
def test_two_epochs_see_every_window_twice(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two windows per update, as many updates as there are windows."""
    windows = len(tiny_features.window_tokens)
    seen: list[int] = []
    original: Callable = loop.assemble

    def watched(features: Features, indices: np.ndarray) -> object:
        seen.extend(indices.tolist())
        return original(features, indices)

    monkeypatch.setattr(loop, "assemble", watched)
    config = changed(recipe, updates=windows, batch_size=2)
    train(tiny_reader, tiny_features, config)
    assert sorted(seen) == sorted([*range(windows), *range(windows)])


class StopAt(StopRequest):
    """A wish to stop that is there from an update on."""

    def __init__(self, update: int) -> None:
        super().__init__()
        self.update = update
        self.seen = 0

    @property
    def made(self) -> bool:
        self.seen += 1
        return self.seen == self.update


def final_state(folder: Path) -> dict[str, Tensor]:
    newest = Checkpoints(folder).newest()
    assert newest is not None
    return newest.tensors()


def without_time(records: list[UpdateRecord]) -> list[UpdateRecord]:
    return [replace(record, seconds=0.0) for record in records]


@one_encoder
@pytest.mark.parametrize(
    ("precision", "empty_windows", "lanes", "by_graphs"),
    [
        ("fp32", 0.5, 1, False),
        ("fp16", "keep", 1, False),
        ("bf16", "keep", 3, False),
        ("fp16", "keep", 1, True),
        ("bf16", 0.5, 1, True),
    ],
    indirect=["lanes"],
)
def test_stopped_run_goes_on_as_if_nothing_had_happened(
    roberta_folder: Path,
    tiny_features: Features,
    recipe: TrainingConfig,
    tmp_path: Path,
    precision: str,
    empty_windows: str | float,
    lanes: int,
    by_graphs: bool,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights, the optimiser's state and every record, bit by bit, with dropout.

    The second stop comes one update after the first, the last is taken up in another process's
    place: with a reader of other weights.
    """
    if by_graphs:
        request.getfixturevalue("graphs_on_cpu")
        monkeypatch.setattr(loop, "takes_graphs", lambda *_: True)
    changes = {"precision": precision, "lr": 1e-2, "loss_scale__growth_updates": 3}
    config = changed(recipe, **changes, empty_windows=empty_windows, batch_size=4 * lanes)
    expected = train(with_dropout(roberta_folder), tiny_features, config, tmp_path / "undisturbed")
    told: list[UpdateRecord] = []
    for number, updates in enumerate((7, 1, 4)):
        told.clear()
        reader = with_dropout(roberta_folder)
        if number:
            torch.nn.init.ones_(reader.span_head.weight)
        stop = StopAt(updates)
        assert not train_with(
            reader, tiny_features, config, told.append, folder=tmp_path / "stopped", stop=stop
        )
        newest = Checkpoints(tmp_path / "stopped").newest()
        assert newest is not None
        assert newest.manifest.update == len(told) == [7, 8, 12][number]
    records = train(with_dropout(roberta_folder), tiny_features, config, tmp_path / "stopped")
    assert without_time(records) == without_time(expected)
    one, other = (final_state(tmp_path / name) for name in ("undisturbed", "stopped"))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@one_encoder
def test_going_on_in_another_number_of_threads_is_said(
    roberta_folder: Path,
    tiny_features: Features,
    recipe: TrainingConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    lanes: int,
) -> None:
    """And that they make other updates, which is why."""
    config = changed(recipe, batch_size=12, updates=4)
    reader = with_dropout(roberta_folder)
    assert not train_with(
        reader, tiny_features, config, lambda _: None, folder=tmp_path / "first", stop=StopAt(2)
    )
    copied = Path(shutil.copytree(tmp_path / "first", tmp_path / "copied"))
    newest = Checkpoints(copied).newest()
    assert newest is not None
    as_before = train(with_dropout(roberta_folder), tiny_features, config, tmp_path / "first")
    assert "shared out as now" not in caplog.text
    torch.set_num_threads(4 - lanes)
    otherwise = train(with_dropout(roberta_folder), tiny_features, config, copied)
    assert f"its updates were {newest.manifest.split}: shared out as now" in caplog.text
    assert [r.loss for r in as_before] != [r.loss for r in otherwise]


@one_encoder
@pytest.mark.parametrize("empty_windows", ["keep", 0.0])
def test_empty_windows_are_drawn_as_the_settings_say(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    empty_windows: str | float,
) -> None:
    """What is laid out in 20 updates of 8: all windows, or those that are not thinned away."""
    drawn: set[int] = set()

    def noting(features: Features, indices: IndexArray) -> Batch:
        drawn.update(indices.tolist())
        return assemble(features, indices)

    monkeypatch.setattr("roberta_squad_pipeline.training.loop.assemble", noting)
    train(tiny_reader, tiny_features, changed(recipe, empty_windows=empty_windows), tmp_path)
    thinning = thinning_of(tiny_features.windows, 0.0)
    assert thinning is not None
    left_out = set(np.flatnonzero(thinning.thinned)) if empty_windows == 0 else set()
    assert drawn == set(range(len(tiny_features.window_tokens))) - left_out


@one_encoder
def test_checkpoints_at_every_interval_and_at_the_end(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig, tmp_path: Path
) -> None:
    seen: dict[int, list[str]] = {}

    def look(record: UpdateRecord) -> None:
        seen[record.update] = sorted(path.name for path in tmp_path.iterdir())

    config = changed(recipe, checkpoint_every=6)
    assert train_with(tiny_reader, tiny_features, config, look, folder=tmp_path)
    assert seen[6] == []
    assert seen[7] == ["update-000006"]
    assert seen[19] == ["update-000012", "update-000018"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["update-000018", "update-000020"]


def test_failure_names_what_is_needed_to_look_into_it(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig, tmp_path: Path
) -> None:
    def break_weight(record: UpdateRecord) -> None:
        if record.update == 4:
            with torch.no_grad():
                tiny_reader.span_head.bias[0] = math.inf

    config = changed(recipe, checkpoint_every=3)
    with pytest.raises(TrainingError) as caught:
        train_with(tiny_reader, tiny_features, config, break_weight, folder=tmp_path)
    drawn = update_windows(len(tiny_features.window_tokens), config.batch_size, config.seed, 5)
    rows = sorted({int(row) for row in tiny_features.windows.question[drawn]})
    ids = [tiny_features.question_ids[row].as_py() for row in rows]
    message = str(caught.value)
    assert f"The update's questions: {', '.join(ids)}." in message
    assert f"The last good checkpoint is {tmp_path / 'update-000003'}." in message
    assert "update 5 of 20: got loss nan" in message


@one_encoder
def test_weights_that_are_no_numbers_are_never_saved(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig, tmp_path: Path
) -> None:
    """The embedding of a token that does not occur does not show in the loss."""
    (unused,) = np.flatnonzero(
        ~np.isin(
            np.arange(tiny_reader.encoder.config.vocab_size),
            [*tiny_features.passages.tokens.values, *tiny_features.question_tokens.values],
        )
    )[-1:]

    def break_weight(record: UpdateRecord) -> None:
        if record.update == 7:
            with torch.no_grad():
                tiny_reader.encoder.embeddings.word_embeddings.weight[unused, 0] = math.nan

    config = changed(recipe, checkpoint_every=4)
    with pytest.raises(TrainingError, match=r"update 8 of 20: .*word_embeddings.*no longer finite"):
        train_with(tiny_reader, tiny_features, config, break_weight, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["update-000004"]


class Scarce(nn.Module):
    """A reader on a device that has room for so many windows at a time."""

    def __init__(self, reader: ReaderModel, room: int, where: str) -> None:
        super().__init__()
        self.reader, self.room, self.where = reader, room, where

    def forward(self, batch: Batch) -> ReaderOutput:
        too_many = len(batch.input_ids) > self.room
        if too_many and self.where == "forward":
            raise torch.OutOfMemoryError
        output = self.reader(batch)
        if not too_many:
            return output
        return output._replace(start_logits=_Fails.apply(output.start_logits))


class _Fails(torch.autograd.Function):
    @staticmethod
    def forward(context: object, logits: Tensor) -> Tensor:
        return logits.clone()

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        raise torch.OutOfMemoryError


@one_encoder
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_micro_batch_is_halved_until_memory_is_enough(
    roberta_folder: Path,
    tiny_features: Features,
    recipe: TrainingConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
) -> None:
    """From 8 windows to 4 to 2, said twice; as with 2 from the start, bit by bit, with dropout."""
    few = changed(recipe, micro_batch=2, updates=5)
    expected = train(with_dropout(roberta_folder), tiny_features, few)
    monkeypatch.setattr(loop, "distribute", lambda reader, *_: Scarce(reader, 2, where))
    many = changed(recipe, micro_batch=8, updates=5)
    caplog.clear()
    records = train(with_dropout(roberta_folder), tiny_features, many)
    assert without_time(records) == without_time(expected)
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert [message[:8] for message in said] == ["update 1"] * 2
    assert "training.micro_batch=2" in said[1]


@one_encoder
@pytest.mark.usefixtures("graphs_on_cpu")
def test_micro_batch_is_halved_with_graphs(
    roberta_folder: Path,
    tiny_features: Features,
    recipe: TrainingConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As with 2 windows from the start, bit by bit, with dropout; a third one fills the row."""
    monkeypatch.setattr(loop, "takes_graphs", lambda *_: True)
    config = changed(recipe, updates=5)
    expected = train(with_dropout(roberta_folder), tiny_features, changed(config, micro_batch=2))
    reader = with_dropout(roberta_folder)
    usual = reader.forward

    def scarce(batch: Batch) -> ReaderOutput:
        if len(batch.input_ids) > 3:
            raise torch.OutOfMemoryError
        return usual(batch)

    monkeypatch.setattr(reader, "forward", scarce)
    records = train(reader, tiny_features, changed(config, micro_batch=8))
    assert without_time(records) == without_time(expected)
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert [message[:8] for message in said] == ["update 1"] * 2


@one_encoder
@pytest.mark.usefixtures("graphs_on_cpu")
def test_with_graphs_a_record_comes_after_the_next_update_is_launched(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    inference: InferenceConfig,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """But before an evaluation and a checkpoint. Oracle: the records of a run without graphs."""
    config = changed(recipe, updates=9, evaluate_every=4, checkpoint_every=6)
    validation = Validation(tiny_features, inference)
    usual, launched = train_step, list[bool]()

    def counted(*arguments: Any, **settings: Any) -> Tensor:
        launched.append(True)
        return usual(*arguments, **settings)

    def run(folder: Path) -> list[tuple[Record, int]]:
        launched.clear()
        told: list[tuple[Record, int]] = []

        def on_record(record: Record) -> None:
            told.append((record, len(launched)))

        assert train_with(
            copy.deepcopy(tiny_reader),
            tiny_features,
            config,
            on_record,
            folder=folder,
            validation=validation,
            on_evaluation=on_record,
        )
        return told

    monkeypatch.setattr(loop, "train_step", counted)
    expected = run(tmp_path / "plain")
    monkeypatch.setattr(loop, "takes_graphs", lambda *_: True)
    found = run(tmp_path / "graphed")
    assert [type(record) for record, _ in found] == [type(record) for record, _ in expected]
    losses = [[record.loss for record, _ in told] for told in (found, expected)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    updates = [(r.update, made) for r, made in found if isinstance(r, UpdateRecord)]
    # After 4, 8 and 9 the reader is evaluated; after 6 it is saved.
    assert updates == [(1, 2), (2, 3), (3, 4), (4, 4), (5, 6), (6, 6), (7, 8), (8, 8), (9, 9)]
    newest = Checkpoints(tmp_path / "graphed").newest()
    assert newest is not None
    assert [each.update for each in newest.records] == [each.update for each, _ in expected]


@one_encoder
def test_memory_that_runs_out_once_gradients_are_unscaled_costs_nothing(
    roberta_folder: Path,
    tiny_features: Features,
    recipe: TrainingConfig,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """In fp16, where torch's scaler unscales an update's gradients once; and it is kept."""
    halved = changed(recipe, precision="fp16", max_grad_norm=1.0, micro_batch=4, updates=5)
    expected = train(with_dropout(roberta_folder), tiny_features, halved)
    usual, failed = nn.utils.clip_grad_norm_, []

    def scarce(*arguments: Any) -> Tensor:
        if not failed:
            failed.append(True)
            raise torch.OutOfMemoryError
        return usual(*arguments)

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", scarce)
    records = train(
        with_dropout(roberta_folder),
        tiny_features,
        changed(halved, micro_batch=8),
        folder=tmp_path,
    )
    assert without_time(records) == without_time(expected)
    assert Checkpoints(tmp_path).micro_batch(8) == 4


def test_one_window_that_does_not_fit_is_an_error(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "distribute", lambda reader, *_: Scarce(reader, 0, "forward"))
    with pytest.raises(TrainingError, match="out of GPU memory with one window"):
        train(tiny_reader, tiny_features, recipe)


def test_layers_are_compiled_for_a_gpu_alone(
    tiny_reader: ReaderModel, tiny_features: Features, recipe: TrainingConfig
) -> None:
    with pytest.raises(InputError, match=r"training.compile_layers: got true on the cpu"):
        train(tiny_reader, tiny_features, changed(recipe, compile_layers=True))


def unlearning(recipe: TrainingConfig, **changes: object) -> TrainingConfig:
    """A rate at which the reader soon unlearns what it knew."""
    usual = {"lr": 3e-2, "warmup_updates": 0, "evaluate_every": 2}
    return changed(recipe, **usual | changes)


@one_encoder
def test_patience_ends_training_early_and_a_run_that_ended_stays_so(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    inference: InferenceConfig,
    tmp_path: Path,
) -> None:
    """Oracle: the evaluations of a run without patience, whose schedule is the same."""
    validation = Validation(tiny_features, inference)
    whole: list[EvaluationRecord] = []
    told: list[EvaluationRecord] = []
    start = copy.deepcopy(tiny_reader)
    config = unlearning(recipe)
    train_with(
        start,
        tiny_features,
        config,
        lambda _: None,
        validation=validation,
        on_evaluation=whole.append,
    )
    criteria = [evaluation.criterion for evaluation in whole]
    end = next(n for n in range(1, 10) if max(criteria[:n]) >= criteria[n])
    assert end < 9
    for _ in range(2):
        told.clear()
        updates: list[UpdateRecord] = []
        assert train_with(
            copy.deepcopy(tiny_reader),
            tiny_features,
            changed(config, patience=1),
            updates.append,
            folder=tmp_path,
            validation=validation,
            on_evaluation=told.append,
        )
        assert [r.criterion for r in told] == criteria[: end + 1]
        assert updates[-1].update == told[-1].update == 2 * (end + 1)
        newest = Checkpoints(tmp_path).newest()
        assert newest is not None
        assert newest.manifest.update == updates[-1].update


def test_validation_loss_that_is_no_number_ends_the_run(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    inference: InferenceConfig,
) -> None:
    """A weight breaks after the second update, before what it makes is evaluated."""

    def on_update(record: UpdateRecord) -> None:
        if record.update == 2:
            with torch.no_grad():
                tiny_reader.span_head.bias[0] = math.nan

    with pytest.raises(TrainingError, match="update 2 of 20: got validation loss nan"):
        train_with(
            tiny_reader,
            tiny_features,
            changed(recipe, evaluate_every=2),
            on_update,
            validation=Validation(tiny_features, inference),
        )


def test_validation_windows_that_do_not_fit_are_an_error(
    tiny_reader: ReaderModel,
    tiny_features: Features,
    recipe: TrainingConfig,
    inference: InferenceConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = tiny_reader.forward

    def scarce(batch: Batch) -> ReaderOutput:
        if not tiny_reader.training:
            raise torch.OutOfMemoryError
        return usual(batch)

    monkeypatch.setattr(tiny_reader, "forward", scarce)
    with pytest.raises(InputError, match=r"inference.batch_windows: got out of GPU memory with 8"):
        train_with(
            tiny_reader,
            tiny_features,
            changed(recipe, evaluate_every=2),
            lambda _: None,
            validation=Validation(tiny_features, inference),
        )
