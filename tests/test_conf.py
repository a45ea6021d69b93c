"""Every environment under conf/ composes, and says what it promises."""

from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.pipeline_registry import register_pipelines
from roberta_squad_pipeline.runs.parameters import (
    Parameters,
    RemoteSource,
    check_parameters,
    load_parameters,
)
from roberta_squad_pipeline.settings import CONFIG_LOADER_ARGS

ENVIRONMENTS = sorted(
    path.name
    for path in Path("conf").iterdir()
    if path.is_dir() and path.name not in {"local", "experiments"}
)


def _loader(env: str, **params: object) -> OmegaConfigLoader:
    return OmegaConfigLoader("conf", env=env, runtime_params=params, **CONFIG_LOADER_ARGS)


def _parameters(env: str, **params: object) -> Parameters:
    return check_parameters(_loader(env, **params)["parameters"])


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_environment_composes(env: str) -> None:
    loader = _loader(env)
    parameters = check_parameters(loader["parameters"])
    entries = loader["catalog"]  # which is composed anew each time
    catalog = DataCatalog.from_config(entries)
    for pipeline in register_pipelines().values():
        for dataset in pipeline.datasets():
            assert dataset.startswith("params:") or dataset in catalog, dataset
        # So that the next node may run in another process.
        for output in pipeline.all_outputs():
            assert "filepath" in entries[output], output
    assert f"/{parameters.run}/" in entries["metrics"]["filepath"]


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_name_on_the_command_line_moves_every_output(env: str) -> None:
    loader = _loader(env, run="mine")
    assert check_parameters(loader["parameters"]).run == "mine"
    for name, entry in loader["catalog"].items():
        # Those of all runs are only read.
        if "filepath" in entry and name != "readers":
            assert "/mine" in entry["filepath"], name


def test_squad2_is_the_recipes_best_run() -> None:
    """Oracle: experiment 5 of the published table (best F1 89.615) and the flags beside it."""
    parameters = _parameters("squad2")
    training, features = parameters.training, parameters.features
    assert (training.updates, training.warmup_updates) == (5430, 326)
    assert (training.batch_size, training.micro_batch) == (48, 3)
    assert (training.lr, training.layer_decay, training.decay_power) == (3e-5, 0.75, 1.0)
    assert (training.betas, training.eps, training.weight_decay) == ((0.9, 0.98), 1e-6, 0.01)
    assert training.max_grad_norm is None
    scale = training.loss_scale
    assert (training.precision, scale.initial, scale.growth_updates, scale.minimum) == (
        "fp16",
        4,
        128,
        1,
    )
    assert (features.max_tokens, features.max_question_tokens, features.stride) == (512, 128, 128)
    assert (parameters.model.encoder, parameters.model.dropout) == ("FacebookAI/roberta-large", 0.1)
    assert parameters.model.attention_dropout == 0.1
    assert (parameters.inference.max_answer_tokens, parameters.inference.null_score) == (
        48,
        "best_span",
    )


def test_squad2_fetches_the_published_files() -> None:
    """Oracle: size and sha256 of the files as published with SQuAD 2.0."""
    data = _parameters("squad2").data
    train, dev = data.sources[data.train], data.sources[data.dev]
    assert isinstance(train, RemoteSource)
    assert isinstance(dev, RemoteSource)
    assert (train.size_bytes, dev.size_bytes) == (42_123_633, 4_370_528)
    assert train.url == "https://rajpurkar.github.io/SQuAD-explorer/dataset/train-v2.0.json"
    assert dev.url == "https://rajpurkar.github.io/SQuAD-explorer/dataset/dev-v2.0.json"
    assert train.sha256 == "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002"
    assert dev.sha256 == "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8"


def test_a_reader_to_go_on_from_takes_the_encoder_s_place() -> None:
    """Of the environment's own encoder; one that is given as well is refused."""
    for env in ENVIRONMENTS:
        model = _parameters(env, model={"start": "mine"}).model
        assert (model.start, model.encoder, model.source) == ("mine", None, "mine")
        assert _parameters(env).model.start is None
        with pytest.raises(InputError, match=r"model.encoder: got other, and model.start=mine"):
            _parameters(env, model={"start": "mine", "encoder": "other"})


def test_users_own_files_and_encoder_replace_single_parameters() -> None:
    own: dict[str, Any] = {
        "data": {"train": "a.json", "dev": "b.json"},
        "model": {"encoder": "folder"},
    }
    for env in ENVIRONMENTS:
        given, plain = _parameters(env, **own), _parameters(env)
        assert (given.data.train, given.data.dev) == ("a.json", "b.json")
        assert given.model.encoder == "folder"
        assert given.training == plain.training
        assert given.model.dropout == plain.model.dropout


def test_own_data_is_trained_on_by_epochs_without_a_scale() -> None:
    """Oracle: what conf/own promises."""
    parameters = _parameters("own")
    training = parameters.training
    assert (parameters.run, parameters.experiment) == ("own", None)
    assert (parameters.scale.updates, parameters.scale.lr) == (1, 1)
    assert (parameters.data.train, parameters.data.dev, parameters.model.encoder) == ("", "", "")
    assert (training.updates, training.warmup_updates, training.lr) == (None, None, None)
    assert training.epochs is not None
    assert training.warmup_share is not None
    assert (training.precision, parameters.inference.precision) == ("auto", "auto")
    weights = training.answerability_weight, training.no_answer_span_weight
    assert weights == (2, 0)
    assert _parameters("base").training.no_answer_span_weight == 1
    assert _parameters("own", model={"start": "folder"}).model.encoder is None


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_the_length_of_a_run_is_what_was_given_last(env: str) -> None:
    """What the command gives replaces what conf/ says, whichever of the two that is."""
    by_updates = {"updates": 100, "warmup_updates": 7, "lr": 2e-5}
    training = _parameters(env, training=by_updates).training
    assert (training.updates, training.epochs) == (100, None)
    assert (training.warmup_updates, training.warmup_share) == (7, None)
    assert training.lr == 2e-5
    training = _parameters(env, training={"epochs": 0.5, "warmup_share": 0.1}).training
    assert (training.updates, training.epochs) == (None, 0.5)
    assert (training.warmup_updates, training.warmup_share) == (None, 0.1)
    for pair in ({"updates": 9, "epochs": 1}, {"warmup_updates": 0, "warmup_share": 0}):
        first, second = (f"training.{name}" for name in pair)
        with pytest.raises(InputError, match=f"{first} and {second}: got . and .*exactly one"):
            _parameters(env, training=pair)


def test_experiments_have_no_place_in_runs_on_own_data() -> None:
    with pytest.raises(InputError, match=r"parameter experiment: got 'bs48_lr3p0'.*run=NAME"):
        load_parameters(_loader("own", experiment="bs48_lr3p0"))
    assert load_parameters(_loader("own", run="mine")).run == "mine"
