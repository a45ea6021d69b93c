"""The training loop: updates, evaluations, checkpoints, and what to do when something fails."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from roberta_squad_pipeline.common.arrays import IndexArray
from roberta_squad_pipeline.common.errors import InputError, TrainingError
from roberta_squad_pipeline.distributed.config import Strategy
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.distributed.stopping import StopRequest
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.reader.batching import (
    Batch,
    Thinning,
    UpdateSplit,
    assemble,
    micro_batches,
    split_update,
    thinning_of,
    update_windows,
)
from roberta_squad_pipeline.reader.lanes import Lanes, even_lane_count
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.training.checkpoint import Checkpoints, Manifest
from roberta_squad_pipeline.training.config import TrainingConfig
from roberta_squad_pipeline.training.graphs import GraphedGradients, takes_graphs
from roberta_squad_pipeline.training.learning_rates import build_optimizer, set_learning_rates
from roberta_squad_pipeline.training.loss_scale import LossScaler
from roberta_squad_pipeline.training.records import (
    EvaluationRecord,
    Record,
    UpdateRecord,
    best_evaluation,
    evaluations_of,
    out_of_patience,
)
from roberta_squad_pipeline.training.step import lane_readers, train_step, train_step_in_lanes
from roberta_squad_pipeline.training.strategy import (
    allocate_state,
    compile_layers,
    distribute,
    gather,
    gather_state,
    spread_state,
)
from roberta_squad_pipeline.training.validation import Validation, read_with_loss, score_validation

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Launched:
    """An update that a GPU may still be at work on."""

    update: int
    attempt: int
    loss: Tensor
    """Shape: ()"""
    rates: list[float]
    """The learning rates of all groups."""
    loss_scale: float
    began: float


@dataclass(slots=True)
class _Run:
    """A run as it stands between two updates."""

    reader: ReaderModel
    module: nn.Module
    """What to call: the reader, or what makes its gradients add up over processes."""
    optimizer: torch.optim.Optimizer
    scaler: LossScaler
    features: Features
    config: TrainingConfig
    processes: Processes
    checkpoints: Checkpoints | None
    split: UpdateSplit
    thinning: Thinning | None
    lanes: Lanes
    lane_readers: list[ReaderModel]
    """Each lane's, if there are several."""
    graphed: GraphedGradients | None
    """What makes the gradients, if they are made by graphs."""
    validation: Validation | None
    on_record: Callable[[Record], None]
    next_batches: list[list[Batch]] | None = None
    """Each lane's, of the update that comes next, where they are assembled already."""
    launched: _Launched | None = None
    """The last update, until it has a record."""
    recorded_at: float = 0.0
    """When the last update had its record."""
    records: list[Record] = field(default_factory=list)
    """Of all updates and evaluations so far; on rank 0 alone."""
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    """Of the best evaluation so far, if they are kept; on rank 0 alone."""


def fit_reader(
    reader: ReaderModel,
    features: Features,
    config: TrainingConfig,
    *,
    validation: Validation | None,
    processes: Processes,
    strategy: Strategy,
    checkpoints: Checkpoints | None,
    stop: StopRequest,
    on_record: Callable[[Record], None],
) -> bool:
    """Trains a reader in place, from the newest checkpoint on if there is one.

    At the end the reader has the weights of the last update; the best ones, if they are to be kept,
    are in the last checkpoint.

    Args:
        reader: With the same weights in every process.
        features: The training windows.
        config: The recipe.
        validation: What it is scored on every `evaluate_every` updates, if that is set.
        processes: Those that train together; each calls this function.
        strategy: How the model is shared out among them.
        checkpoints: Where rank 0 keeps them; the others pass None.
        stop: Checked after every update.
        on_record: On rank 0, called after every update and every evaluation; first for those that
            were made before the checkpoint.

    Returns:
        True if training ended, also if it ended early because patience ran out; False if it was
        stopped. A checkpoint was written in either case.

    Raises:
        InputError: The update cannot be shared out evenly.
        TrainingError: The loss is no longer a number, fp16 keeps overflowing, one window does not
            fit into memory, or a checkpoint cannot be written. Every process raises it.
        torch.OutOfMemoryError: Of several processes this one has too little GPU memory.
    """
    lanes = _lanes(reader, config, processes)
    split = split_update(config.batch_size, processes.count, config.micro_batch, lanes.count)
    reader.to(processes.device).train()
    if config.compile_layers:
        compile_layers(reader, processes.device)
    graphed: GraphedGradients | None = None
    module: nn.Module = reader
    if takes_graphs(reader, features, processes, strategy):
        tokens = int(features.window_tokens.max())
        graphed = GraphedGradients(
            reader, tokens=tokens, precision=config.precision, processes=processes
        )
    else:
        module = distribute(reader, processes, strategy)
    optimizer = build_optimizer(reader, config)
    allocate_state(reader, optimizer)
    scaler = LossScaler(
        config.loss_scale, enabled=config.precision == "fp16", device=processes.device
    )
    run = _Run(
        reader=reader,
        module=module,
        optimizer=optimizer,
        scaler=scaler,
        features=features,
        config=config,
        processes=processes,
        checkpoints=checkpoints,
        split=split,
        thinning=thinning_of(features.windows, config.empty_windows),
        lanes=lanes,
        lane_readers=lane_readers(reader, lanes.count) if lanes.count > 1 else [],
        graphed=graphed,
        validation=validation,
        on_record=on_record,
    )
    with lanes:
        return _train(run, stop)


def _lanes(reader: ReaderModel, config: TrainingConfig, processes: Processes) -> Lanes:
    """One where the work is not the CPU's alone, or random numbers are not all our own."""
    own = reader.drops_out_in_layers and config.precision != "fp16"
    if not own or processes.count > 1:
        return Lanes(1)
    return Lanes(even_lane_count(processes.device, config.batch_size))


def _train(run: _Run, stop: StopRequest) -> bool:
    config, processes = run.config, run.processes
    done = _resume(run)
    if processes.first:
        _logger.info("%s", run.split)
        for earlier in run.records:
            run.on_record(earlier)
    ended = _out_of_patience(run)
    for update in range(done + 1, config.updates + 1):
        if ended:
            break
        _make_update(run, update)
        ended = update == config.updates
        every = config.evaluate_every
        if run.validation and every and (update % every == 0 or ended):
            _record(run)
            _evaluate(run, run.validation, update)
            ended = ended or _out_of_patience(run)
        # A signal may reach one rank before this update and another after it; one that left alone
        # would make the others wait in their next collective for ever.
        stopped = processes.any(stop.made)
        if stopped or update % config.checkpoint_every == 0 or ended:
            _record(run)
            _save(run, update)
        if stopped and not ended:
            return False
    return True


def _resume(run: _Run) -> int:
    """Goes back to the newest checkpoint, in every process; returns the updates before it."""
    found = run.checkpoints.newest() if run.checkpoints else None
    told = found.manifest.model_dump_json().encode() if found else b""
    # Only rank 0 sees the checkpoints, but all have to begin with the same update.
    told = run.processes.broadcast_bytes(told)
    if not told:
        return 0
    start = Manifest.model_validate_json(told)
    run.scaler.load_state_dict(start.loss_scale)
    tensors = found.tensors() if found else None
    spread_state(tensors, run.reader, run.optimizer, run.processes)
    if found:
        run.records = found.records
        run.best_weights = found.best_weights()
        _logger.info("going on from %s", found.path)
        if start.split != str(run.split):
            _logger.warning(
                "its updates were %s: shared out as now, dropout, if any, drops other values",
                start.split,
            )
    return start.update


def _make_update(run: _Run, update: int) -> None:
    """Launches an update; the one before it has a record after that."""
    began = time.perf_counter()
    config = run.config
    set_learning_rates(run.optimizer, update, config)
    rates = [group["lr"] for group in run.optimizer.param_groups]
    made = False
    while not made:
        # Like fairseq: what overflows fp16 is no update, and the next windows are tried.
        attempt = update + run.scaler.skipped
        batches = run.next_batches or _assemble(run, attempt)
        run.next_batches = None
        try:
            loss = _step(run, batches, attempt)
        except torch.OutOfMemoryError:
            # Of several processes the others wait for this one's gradients: all start again.
            if run.processes.count > 1:
                raise
            _halve_micro_batch(run, update)
            continue
        _record(run)
        if update < config.updates:
            # A GPU is at work until its loss is asked for.
            run.next_batches = _assemble(run, attempt + 1)
        # In fp16, the attempt's wait for the device; the next batches are assembled by now.
        made = not run.scaler.settle()
        _check_scale(run, update, attempt)
    run.launched = _Launched(update, attempt, loss, rates, run.scaler.known_scale, began)
    # By graphs a GPU has the next update before the host asks for the loss of this one.
    if not run.graphed:
        _record(run)


def _record(run: _Run) -> None:
    """Waits for the last update that was launched, and keeps its record."""
    if run.launched is None:
        return
    launched, run.launched = run.launched, None
    loss = launched.loss.item()
    began, run.recorded_at = max(launched.began, run.recorded_at), time.perf_counter()
    record = UpdateRecord(
        update=launched.update,
        loss=loss,
        lr_highest=max(launched.rates),
        lr_lowest=min(launched.rates),
        windows=run.config.batch_size,
        loss_scale=launched.loss_scale,
        seconds=run.recorded_at - began,
    )
    if not math.isfinite(loss):
        got, attempt = f"loss {loss}", launched.attempt
        raise TrainingError(_failure(run, launched.update, got, "a finite number", attempt=attempt))
    _keep(run, record)


def _step(run: _Run, batches: list[list[Batch]], attempt: int) -> Tensor:
    config, rank = run.config, run.processes.rank
    # Every attempt has random numbers of its own: one that is made again, after a kill or for want
    # of memory, drops out the same values.
    seeds = [_dropout_seed(config.seed, attempt, rank, lane) for lane in range(run.lanes.count)]
    if run.lanes.count > 1:
        return train_step_in_lanes(
            run.reader,
            run.lane_readers,
            batches,
            run.optimizer,
            config,
            lanes=run.lanes,
            seeds=seeds,
        )
    torch.manual_seed(seeds[0])
    return train_step(
        run.module,
        batches[0],
        run.optimizer,
        run.scaler,
        config,
        processes=run.processes,
        graphed=run.graphed,
    )


def _keep(run: _Run, record: Record) -> None:
    if run.processes.first:
        run.records.append(record)
        run.on_record(record)


def _evaluate(run: _Run, validation: Validation, update: int) -> None:
    """Scores the reader on the validation questions; every process has to call it."""
    began = time.perf_counter()
    spans, loss = read_with_loss(
        run.reader, validation, weights=run.config, processes=run.processes
    )
    # Every process has the same loss.
    if not math.isfinite(loss):
        got = f"validation loss {loss}"
        raise TrainingError(_failure(run, update, got, "a finite number"))
    best = False
    if run.processes.first:
        scores = asdict(score_validation(validation, spans))
        seconds = time.perf_counter() - began
        evaluation = EvaluationRecord(**scores, update=update, loss=loss, seconds=seconds)
        _keep(run, evaluation)
        best = best_evaluation(evaluations_of(run.records)) is evaluation
    # Only rank 0 has scored, but all take part in gathering the weights.
    if run.config.keep == "best" and run.processes.any(best):
        run.best_weights = gather(run.reader.state_dict(), run.processes)


def _out_of_patience(run: _Run) -> bool:
    # Only rank 0 keeps the evaluations, but all have to end after the same update.
    ended = out_of_patience(evaluations_of(run.records), run.config.patience)
    return run.processes.any(ended)


def _drawn(run: _Run, attempt: int) -> IndexArray:
    windows = len(run.features.window_tokens)
    config = run.config
    return update_windows(windows, config.batch_size, config.seed, attempt, run.thinning)


def _assemble(run: _Run, attempt: int) -> list[list[Batch]]:
    """The micro-batches of each of this process's lanes, of an attempt at an update."""
    drawn, first = _drawn(run, attempt), run.processes.rank * run.lanes.count
    shares = (
        micro_batches(drawn, run.features.window_tokens, run.split, first + lane)
        for lane in range(run.lanes.count)
    )
    # They are copied while the device is at work.
    prepare = run.graphed.prepare if run.graphed else lambda batch: batch.to(run.processes.device)
    return [[prepare(assemble(run.features, piece)) for piece in share] for share in shares]


def _dropout_seed(seed: int, attempt: int, rank: int, lane: int) -> int:
    # Each of them may be any number, so that none can stand for two.
    entropy = (seed, attempt, rank, lane) if lane else (seed, attempt, rank)
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def no_room(where: str) -> InputError:
    """The error for a process whose GPU memory does not hold one window."""
    return InputError(
        where=where,
        got="out of GPU memory with one window in a micro-batch",
        expected="room for at least one",
        remedy="Lower features.max_tokens, use a smaller encoder, or run with --params "
        "distributed.strategy=fsdp on several GPUs.",
    )


def _halve_micro_batch(run: _Run, update: int) -> None:
    before = run.split
    if before.accumulation == before.share:
        raise TrainingError(str(no_room(f"update {update} of {run.config.updates}")))
    run.split = replace(before, accumulation=min(2 * before.accumulation, before.share))
    micro_batch = -(-run.split.share // run.split.accumulation)
    # torch's scaler unscales gradients once per update, and this one is made again.
    run.scaler.update(run.scaler.known_scale)
    if run.checkpoints is not None:
        run.checkpoints.keep_micro_batch(micro_batch)
    if run.graphed:
        run.graphed.forget()
    if run.processes.device.type == "cuda":
        torch.cuda.empty_cache()
    _logger.warning(
        "update %d: out of GPU memory; it is made again, and from now on %s instead of %d "
        "micro-batches. training.micro_batch=%d says so from the start.",
        update,
        run.split,
        before.accumulation,
        micro_batch,
    )


def _save(run: _Run, update: int) -> None:
    """Writes a checkpoint on rank 0; every process has to call it."""
    state = gather_state(run.reader, run.optimizer, run.processes)
    problem: str | None = None
    if run.checkpoints is not None:
        broken = [
            name
            for name, value in (state | run.best_weights).items()
            if not torch.isfinite(value).all()
        ]
        if broken:
            problem = _failure(run, update, f"{broken[0]} is no longer finite", "finite weights")
        else:
            try:
                run.checkpoints.save(
                    update,
                    state,
                    run.scaler.state_dict(),
                    run.records,
                    split=str(run.split),
                    best_weights=run.best_weights,
                )
            except InputError as error:
                problem = str(error)
    # Only rank 0 writes; the others must not go on, and wait for it, when it could not.
    if run.processes.any(problem is not None):
        raise TrainingError(problem or "see what the first process says")


def _check_scale(run: _Run, update: int, attempt: int) -> None:
    if run.scaler.diverged:
        floor = run.config.loss_scale
        got = (
            f"the last {floor.skips_at_minimum} attempts at it overflowed fp16 at the smallest "
            f"loss scale {floor.minimum:g}"
        )
        expected = "at least one that does not"
        raise TrainingError(_failure(run, update, got, expected, attempt=attempt))


def _failure(run: _Run, update: int, got: str, expected: str, *, attempt: int | None = None) -> str:
    """A message; with an attempt it names the questions of this."""
    config = run.config
    questions = ""
    if attempt is not None:
        rows = np.unique(run.features.windows.question[_drawn(run, attempt)])
        ids = [run.features.question_ids[int(row)].as_py() for row in rows]
        questions = f" The update's questions: {', '.join(ids)}."
    last = run.checkpoints.last() if run.checkpoints else None
    kept = f" The last good checkpoint is {last}." if last else " There is no checkpoint yet."
    rate = max(group["lr"] for group in run.optimizer.param_groups)
    return (
        f"update {update} of {config.updates}: got {got}; expected {expected} (learning "
        f"rate {rate:.3g}, precision {config.precision}). Lower training.lr, lengthen "
        "training.warmup_updates, set training.max_grad_norm, or give another training.precision."
        f"{questions}{kept}"
    )
