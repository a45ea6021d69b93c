"""Training in many processes.

Oracle: the same training in one process, and the checkpoints that each leaves.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyarrow import RecordBatchReader
from torch import Tensor
from torch.nn import functional as F

from forked_workers import STARTED, fork_workers
from losses import SERIES
from roberta_squad_pipeline.common.errors import InputError, TrainingError
from roberta_squad_pipeline.datasets import FeaturesDataset
from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.distributed.processes import Processes
from roberta_squad_pipeline.features.file import Features
from roberta_squad_pipeline.features.teacher import TeacherLogits, TeacherMeta
from roberta_squad_pipeline.features.tokenizer import PassageTokenizer
from roberta_squad_pipeline.reader.config import InferenceConfig, ModelConfig
from roberta_squad_pipeline.reader.model import ReaderModel
from roberta_squad_pipeline.reader.storage import ReaderHeader, TrainedReader, save_reader
from roberta_squad_pipeline.training import loop
from roberta_squad_pipeline.training.checkpoint import Checkpoints
from roberta_squad_pipeline.training.config import Distillation, TrainingConfig
from roberta_squad_pipeline.training.job import TrainingJob, first_reader, run_training
from roberta_squad_pipeline.training.records import EvaluationRecord, Record, UpdateRecord
from roberta_squad_pipeline.training.validation import Validation, read_with_loss, score_validation

pytestmark = pytest.mark.usefixtures("one_thread", "forked")

Run = Callable[..., tuple[ReaderModel, list[UpdateRecord]]]

TEACHER = TeacherMeta(features_sha256="0" * 64, teacher="made up")

UNLEARNING = {"lr": 3e-2, "warmup_updates": 0, "evaluate_every": 2, "keep": "best"}
"""A rate at which the reader soon unlearns what it knew."""


def distributed(processes: int, strategy: str = "ddp", **changes: object) -> DistributedConfig:
    fields = {
        "processes": processes,
        "nodes": 1,
        "node_rank": 0,
        "rendezvous": None,
        "join_timeout_s": 300,
        "strategy": strategy,
        "max_restarts": 1,
    }
    return DistributedConfig(**fields | changes)


@pytest.fixture(scope="module")
def forked() -> Iterator[None]:
    """Workers that find all imported."""
    import_module("roberta_squad_pipeline.training.worker")
    with pytest.MonkeyPatch.context() as patch:
        fork_workers(patch.setattr)
        yield


@pytest.fixture
def features_file(tiny_batch: object, tmp_path: Path) -> Path:
    path = tmp_path / "train.arrow"
    batches = RecordBatchReader.from_batches(tiny_batch.schema, [tiny_batch])
    FeaturesDataset(filepath=str(path)).save(batches)
    return path


@pytest.fixture
def run(
    features_file: Path, roberta_folder: Path, tmp_path: Path, inference: InferenceConfig
) -> Run:
    """Trains the tiny RoBERTa in so many processes, and scores it on what it is trained on."""

    def train(
        recipe: TrainingConfig,
        config: DistributedConfig,
        *,
        dropout: float = 0.0,
        folder: str = "checkpoints",
        start: Path | None = None,
        on_update: Callable[[UpdateRecord], None] = lambda _: None,
        on_evaluation: Callable[[EvaluationRecord], None] = lambda _: None,
        on_restart: Callable[[int], None] = lambda _: None,
    ) -> tuple[ReaderModel, list[UpdateRecord]]:
        model = ModelConfig(
            start=start and str(start),
            encoder=None if start else str(roberta_folder),
            dropout=dropout,
            attention_dropout=dropout,
            answerability_input="first_token",
        )
        features = Features.open(features_file)
        teacher = None
        if recipe.distil is not None:
            teacher = tmp_path / "teacher.arrow"
            made_up = TeacherLogits.empty(TEACHER, features.window_tokens)
            made_up.start.values[:] = np.random.default_rng(1).normal(
                size=made_up.start.values.size
            )
            made_up.save(teacher)
            features = replace(features, teacher=TeacherLogits.open(teacher))
        reader = first_reader(features, model, recipe, start).reader
        job = TrainingJob(
            features=features_file,
            teacher=teacher,
            validation=features_file if recipe.evaluate_every else None,
            inference=inference,
            model=model,
            start=start,
            training=recipe,
            distributed=config,
            checkpoints=tmp_path / folder,
        )
        records: list[UpdateRecord] = []

        def keep(record: Record) -> None:
            if isinstance(record, EvaluationRecord):
                on_evaluation(record)
            else:
                records.append(record)
                on_update(record)

        run_training(
            job,
            reader,
            features,
            name="test",
            on_record=keep,
            on_restart=on_restart,
        )
        return reader, records

    return train


def changed(recipe: TrainingConfig, **changes: object) -> TrainingConfig:
    return TrainingConfig(**recipe.model_dump() | changes)


def losses(records: list[UpdateRecord]) -> list[float]:
    return [record.loss for record in records]


def state(folder: Path, update: int) -> dict[str, Tensor]:
    newest = Checkpoints(folder).newest()
    assert newest is not None
    assert newest.manifest.update == update
    return newest.tensors()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) for name, value in one.items()
    )


def test_losses_of_one_two_and_four_processes_agree(run: Run, recipe: TrainingConfig) -> None:
    """To 1e-5 over 16 updates at the recipe's peak learning rate, and each is told once.

    All learn from a teacher, too.

    At rates at which the reader learns a hundred times as fast, what float32 rounds off grows from
    update to update, between two sizes of micro-batch in one process as well.
    """
    distil = Distillation(weight=0.5, temperature=2.0, teacher=TEACHER.teacher, unlabelled=None)
    recipe = changed(recipe, updates=16, lr=3e-5, batch_size=12, micro_batch=2)
    unlike = losses(run(changed(recipe, updates=4), distributed(1), folder="alone")[1])
    recipe = changed(recipe, distil=distil)
    expected = losses(run(recipe, distributed(1), folder="1")[1])
    assert expected[0] != pytest.approx(unlike[0], rel=0.01)
    for processes in (2, 4):
        records = run(recipe, distributed(processes), folder=str(processes))[1]
        assert [record.update for record in records] == list(range(1, 17))
        assert losses(records) == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("graphs_on_cpu")
def test_graphs_on_two_processes_as_the_plain_pass_on_one(
    run: Run, recipe: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = changed(recipe, updates=6, lr=1e-4, max_grad_norm=1.0)
    _, expected = run(config, distributed(1))
    monkeypatch.setattr(loop, "takes_graphs", lambda *_: True)
    for processes in (1, 2):
        _, found = run(config, distributed(processes), folder=str(processes))
        assert losses(found) == pytest.approx(losses(expected), abs=1e-5)


def test_fully_sharded_like_data_parallel_and_each_goes_on_from_the_other(
    run: Run, recipe: TrainingConfig, tmp_path: Path
) -> None:
    """Losses to 1e-4, weights to 1e-5, in fp32; dropout is drawn alike."""
    whole = changed(recipe, updates=8, checkpoint_every=4, lr=1e-4)
    expected, records = run(whole, distributed(2), dropout=0.1, folder="ddp")
    sharded, sharded_records = run(whole, distributed(2, "fsdp"), dropout=0.1, folder="fsdp")
    assert losses(sharded_records) == pytest.approx(losses(records), rel=1e-4)
    for one, other in zip(expected.parameters(), sharded.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    for strategy in ("ddp", "fsdp"):
        folder = tmp_path / strategy
        (folder / "update-000008").rename(tmp_path / f"{strategy}-end")
    assert (tmp_path / "ddp/update-000004").is_dir()
    from_ddp, of_fsdp = run(whole, distributed(2, "fsdp"), dropout=0.1, folder="ddp")
    from_fsdp, of_ddp = run(whole, distributed(2), dropout=0.1, folder="fsdp")
    for reader, found in ((from_ddp, of_fsdp), (from_fsdp, of_ddp)):
        assert losses(found) == pytest.approx(losses(records), rel=1e-4)
        for one, other in zip(expected.parameters(), reader.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_processes_start_from_another_reader(
    run: Run,
    recipe: TrainingConfig,
    roberta_folder: Path,
    features_file: Path,
    tmp_path: Path,
) -> None:
    """At a rate that is 0 in 32 bits its weights stay bit for bit; one process has its losses."""
    recipe = changed(recipe, updates=3, warmup_updates=1)
    trained, _ = run(recipe, distributed(1), folder="first")
    meta = Features.open(features_file).meta
    header = ReaderHeader(
        tokenizer=meta.tokenizer,
        windows=meta.windows,
        inference=InferenceConfig(
            batch_windows=3, precision="fp32", max_answer_tokens=6, n_best=5, null_score="best_span"
        ),
        dropout=0.0,
        answerability_input="first_token",
        recipe={},
    )
    tokenizer = PassageTokenizer.load(str(roberta_folder))
    save_reader(TrainedReader(trained, tokenizer, header), tmp_path / "mine")
    kept = changed(recipe, lr=1e-300)
    expected = run(kept, distributed(1), folder="one", start=tmp_path / "mine")[1]
    reader, records = run(kept, distributed(2, "fsdp"), folder="two", start=tmp_path / "mine")
    assert same(reader.state_dict(), trained.state_dict())
    assert losses(records) == pytest.approx(losses(expected), rel=1e-5)


def workers() -> list[int]:
    """Process ids of those that live."""
    return [worker.pid for worker in STARTED if worker.poll() is None]


@pytest.mark.parametrize(("processes", "strategy"), [(1, "ddp"), (2, "fsdp")])
def test_evaluating_changes_no_weight(
    run: Run,
    recipe: TrainingConfig,
    inference: InferenceConfig,
    features_file: Path,
    tmp_path: Path,
    processes: int,
    strategy: str,
) -> None:
    """Bit by bit, with dropout; and all processes together score what one process scores.

    Two processes have three batches of validation windows, so that one of them has one more.
    """
    recipe = changed(recipe, updates=6, lr=1e-2)
    config = distributed(processes, strategy)
    run(recipe, config, dropout=0.1, folder="plain")
    found: list[EvaluationRecord] = []
    evaluating = changed(recipe, evaluate_every=4)
    reader, _ = run(evaluating, config, dropout=0.1, folder="scored", on_evaluation=found.append)
    assert same(state(tmp_path / "scored", 6), state(tmp_path / "plain", 6))
    assert [record.update for record in found] == [4, 6]
    validation = Validation(Features.open(features_file), inference)
    spans, loss = read_with_loss(
        reader, validation, weights=SERIES, processes=Processes.alone(torch.device("cpu"))
    )
    expected = EvaluationRecord(
        **asdict(score_validation(validation, spans)), update=6, loss=0.0, seconds=0.0
    )
    assert found[-1].loss == pytest.approx(loss, rel=1e-6)
    assert replace(found[-1], seconds=0.0, loss=0.0) == expected


@pytest.mark.parametrize(("processes", "strategy"), [(1, "ddp"), (2, "fsdp")])
def test_the_reader_has_the_weights_of_the_best_evaluation(
    run: Run, recipe: TrainingConfig, tmp_path: Path, processes: int, strategy: str
) -> None:
    """Oracle: a run of the same schedule that wrote a checkpoint after that update.

    Of a rate at which the reader unlearns all it knew: the last evaluation is not the best.
    """
    recipe = changed(recipe, updates=10, checkpoint_every=1, **UNLEARNING)
    config = distributed(processes, strategy)
    checkpointed: dict[int, dict[str, Tensor]] = {}

    def keep(record: UpdateRecord) -> None:
        # The checkpoint of the update before it is there.
        if record.update > 1:
            found = Checkpoints(tmp_path / "plain").newest()
            assert found is not None
            checkpointed[found.manifest.update] = found.tensors()

    run(changed(recipe, keep="last"), config, folder="plain", on_update=keep)
    found: list[EvaluationRecord] = []
    reader, records = run(recipe, config, folder="best", on_evaluation=found.append)
    best = max(found, key=lambda record: record.criterion)
    assert best.update < found[-1].update
    assert [record.update for record in records] == list(range(1, len(records) + 1))
    for name, value in reader.state_dict().items():
        assert torch.equal(value, checkpointed[best.update][f"model.{name}"]), name


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_between_two_evaluations_as_if_nothing_had_happened(
    run: Run, recipe: TrainingConfig, tmp_path: Path, processes: int
) -> None:
    """The same reader and optimiser bit by bit, the same curves, each of their points told once.

    A single process is stopped; of two one is killed. In other precisions, at random moments and
    many times: benchmarks/faults_training.py.
    """
    recipe = changed(recipe, updates=12, checkpoint_every=5, **UNLEARNING)
    config = distributed(processes)
    expected: list[EvaluationRecord] = []
    reader, undisturbed = run(
        recipe, config, dropout=0.1, folder="whole", on_evaluation=expected.append
    )
    found: list[EvaluationRecord] = []
    restarts: list[int] = []

    def kill(record: UpdateRecord) -> None:
        if record.update == 7:
            pid = workers()[-1] if processes > 1 else os.getpid()
            os.kill(pid, signal.SIGKILL if processes > 1 else signal.SIGTERM)

    def train(on_update: Callable[[UpdateRecord], None]) -> tuple[ReaderModel, list[UpdateRecord]]:
        found.clear()
        return run(
            recipe,
            config,
            dropout=0.1,
            folder="killed",
            on_update=on_update,
            on_evaluation=found.append,
            on_restart=restarts.append,
        )

    if processes == 1:
        with pytest.raises(SystemExit):
            train(kill)
        again, records = train(lambda _: None)
    else:
        again, records = train(kill)
    assert restarts == [1] * (processes - 1)
    assert losses(records) == losses(undisturbed)
    assert [replace(r, seconds=0.0) for r in found] == [replace(r, seconds=0.0) for r in expected]
    assert same(again.state_dict(), reader.state_dict())
    last = records[-1].update
    assert same(state(tmp_path / "killed", last), state(tmp_path / "whole", last))


def test_a_damaged_last_checkpoint_is_no_finished_reader(
    run: Run, recipe: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before it is whole, and not what was trained; started again, the run ends well."""
    recipe = changed(recipe, updates=6, checkpoint_every=1, **UNLEARNING)
    expected, _ = run(recipe, distributed(1), folder="whole")
    save = Checkpoints.save

    def damaging(self: Checkpoints, update: int, *given: object, **more: object) -> Path:
        path = save(self, update, *given, **more)
        if update == 6:
            (path / "best.safetensors").write_bytes(b"")
        return path

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", damaging)
        with pytest.raises(TrainingError, match="no whole checkpoint of update 6, the last one"):
            run(recipe, distributed(1), folder="damaged")
    reader, records = run(recipe, distributed(1), folder="damaged")
    assert [record.update for record in records] == list(range(1, 7))
    assert same(reader.state_dict(), expected.state_dict())


def test_workers_that_die_too_often_are_an_error(run: Run, recipe: TrainingConfig) -> None:
    def kill(record: UpdateRecord) -> None:
        if record.update == 2:
            os.kill(workers()[0], signal.SIGKILL)

    died = r"process \d died \(SIGKILL\), and deaths in all: 1; expected at most 0"
    with pytest.raises(TrainingError, match=died):
        run(
            changed(recipe, updates=500),
            distributed(2, max_restarts=0),
            on_update=kill,
        )
    assert workers() == []


@pytest.mark.parametrize(
    ("processes", "sent"), [(1, signal.SIGINT), (1, signal.SIGTERM), (2, signal.SIGINT)]
)
def test_signal_ends_training_with_a_checkpoint_and_handlers_are_restored(
    run: Run, recipe: TrainingConfig, tmp_path: Path, processes: int, sent: signal.Signals
) -> None:
    """And the same call goes on from there: every update once, none lost."""
    recipe = changed(recipe, updates=40, checkpoint_every=1000)
    told: list[int] = []

    def stop(record: UpdateRecord) -> None:
        told.append(record.update)
        if record.update == 5:
            os.kill(os.getpid(), sent)

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    expected = KeyboardInterrupt if sent == signal.SIGINT else SystemExit
    with pytest.raises(expected):
        run(recipe, distributed(processes), on_update=stop)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not [t for t in threading.enumerate() if t.name == "elastic launcher"]
    newest = Checkpoints(tmp_path / "checkpoints").newest()
    assert newest is not None
    assert newest.manifest.update == told[-1] < 40
    assert [record.update for record in newest.records] == told
    _, records = run(recipe, distributed(processes))
    assert [record.update for record in records] == list(range(1, 41))
    assert losses(records)[: newest.manifest.update] == [record.loss for record in newest.records]


def test_impossible_split_is_said_before_anything_starts(run: Run, recipe: TrainingConfig) -> None:
    with pytest.raises(InputError, match=r"8 windows per update for 3 processes"):
        run(recipe, distributed(3))


def test_loss_that_is_no_number_is_told_by_all_processes_once(
    run: Run, recipe: TrainingConfig, tmp_path: Path
) -> None:
    """Not restarted, since it would happen again; the first process's message arrives."""
    restarts: list[int] = []
    with pytest.raises(TrainingError, match=r"update \d+ of 20: got loss nan.*questions: ") as told:
        run(
            changed(recipe, lr=1e30, warmup_updates=0, checkpoint_every=1),
            distributed(2),
            on_restart=restarts.append,
        )
    assert "last good checkpoint" in str(told.value) or "no checkpoint" in str(told.value)
    assert restarts == []


forks = pytest.mark.skipif(torch.cuda.is_available(), reason="only forks are patched as well")


class OutOfMemory(torch.autograd.Function):
    """Passes its input on, and finds no memory for the gradient."""

    @staticmethod
    def forward(context: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("simulated")


def scarce(where: str, room: int) -> Callable[..., Tensor]:
    """A cross entropy for which process 1 has memory for so many windows."""
    usual = F.cross_entropy

    def cross_entropy(logits: Tensor, *arguments: Any, **named: Any) -> Tensor:
        too_many = os.environ.get("RANK") == "1" and len(logits) > room
        if too_many and where == "forward":
            raise torch.OutOfMemoryError("simulated")
        return usual(OutOfMemory.apply(logits) if too_many else logits, *arguments, **named)

    return cross_entropy


@forks
@pytest.mark.parametrize(
    ("where", "strategy", "micro_batch", "restarts"),
    [("forward", "ddp", 4, [1, 2]), ("backward", "fsdp", 2, [1])],
)
def test_process_without_memory_makes_all_take_less(
    run: Run,
    recipe: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    strategy: str,
    micro_batch: int,
    restarts: list[int],
) -> None:
    """Process 1 has room for one window: losses as with one from the start.

    From four to two to one takes two restarts of all processes, none of which is a death.
    """
    recipe = changed(recipe, updates=4, warmup_updates=1, micro_batch=micro_batch)
    _, expected = run(
        changed(recipe, micro_batch=1), distributed(2, strategy), dropout=0.1, folder="expected"
    )
    monkeypatch.setattr(F, "cross_entropy", scarce(where, room=1))
    seen: list[int] = []
    _, records = run(
        recipe,
        distributed(2, strategy, max_restarts=0),
        dropout=0.1,
        folder="scarce",
        on_restart=seen.append,
    )
    assert losses(records) == losses(expected)
    assert seen == restarts
    assert Checkpoints(tmp_path / "scarce").micro_batch(4) == 1


@forks
def test_one_window_without_memory_is_an_error(
    run: Run, recipe: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(F, "cross_entropy", scarce("forward", room=0))
    # Said by the process itself, or by all once they were started again.
    with pytest.raises((InputError, TrainingError), match="out of GPU memory with one window"):
        run(changed(recipe, micro_batch=2), distributed(2))


def test_second_machine_that_never_comes(run: Run, recipe: TrainingConfig, free_port: int) -> None:
    config = distributed(1, nodes=2, rendezvous=f"127.0.0.1:{free_port}", join_timeout_s=3)
    with pytest.raises(InputError, match=r"no sign of the other machines within 3 s"):
        run(recipe, config)


def test_workers_need_neither_kedro_nor_mlflow() -> None:
    code = (
        "import sys\n"
        "import roberta_squad_pipeline.inference.worker, roberta_squad_pipeline.training.worker\n"
        "assert not {'kedro', 'mlflow'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
