"""Oracle: what a user has to be told; each message names place, finding, rule and remedy."""

import copy
from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.demo import ENCODER
from roberta_squad_pipeline.runs.parameters import (
    Parameters,
    TuneConfig,
    check_before_run,
    check_parameters,
)
from roberta_squad_pipeline.settings import CONFIG_LOADER_ARGS


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    raw: dict[str, Any] = OmegaConfigLoader("conf", env="base", **CONFIG_LOADER_ARGS)["parameters"]
    return raw


def _changed(raw: dict[str, Any], dotted: str, value: object) -> dict[str, Any]:
    changed = copy.deepcopy(raw)
    *sections, key = dotted.split(".")
    section = changed
    for name in sections:
        section = section[name]
    section[key] = value
    return changed


@pytest.mark.parametrize(
    ("dotted", "value", "said"),
    [
        (
            "training.lrr",
            1,
            "training.lrr: got an unknown name; expected one of answerability_weight",
        ),
        ("training.lrr", 1, "Did you mean training.lr?"),
        ("trainig", {}, "parameter trainig: got an unknown name; expected one of experiment, run"),
        ("trainig", {}, "Did you mean training?"),
        ("training.loss_scale.inital", 1, "Did you mean training.loss_scale.initial?"),
        ("training.lr", "abc", "parameter training.lr: got 'abc'; expected a valid number"),
        ("training.lr", -1, "parameter training.lr: got -1; expected greater than 0"),
        ("run", "../x", "parameter run: got '../x'; expected text of the form '^[A-Za-z0-9]"),
        ("run", "x" * 101, "expected text of at most 100 characters."),
        ("training.precision", "fp8", "expected 'auto', 'fp32', 'bf16' or 'fp16'"),
        ("training.epochs", 2, "training.updates and training.epochs: got 520 and 2.0; expected"),
        ("training.updates", None, "training.updates and training.epochs: got neither; expected"),
        ("training.warmup_share", 0.1, "training.warmup_updates and training.warmup_share: got 31"),
        (
            "training.warmup_updates",
            None,
            "and training.warmup_share: got neither; expected",
        ),
        ("training.lr", None, "training.lr and training.lr_by_size: got neither"),
        ("training.lr_by_size", [{"up_to_million_parameters": 9, "lr": 1e-4}], "the last one null"),
        ("training.warmup_updates", 10**6, "training.warmup_updates: got 1000000 updates"),
        ("features.stride", 1000, "features.stride: got 1000 tokens from window to window"),
        (
            "data.validation",
            1.5,
            "parameter data.validation: got 1.5; expected dev, a share of the",
        ),
        ("data.validation", None, "parameter data.validation: got None; expected dev, a share of"),
        ("training.keep", "best", "training.evaluate_every: got null with training.keep=best"),
        ("data.on_misaligned", "ignore", "expected 'error', 'drop' or 'repair'"),
        ("data.sources.demo_dev.passages", 0, "parameter data.sources.demo_dev.passages: got 0"),
        (
            "data.sources.demo_dev.kind",
            "x",
            "parameter data.sources.demo_dev.kind: got x; expected 'demo', 'remote'",
        ),
        (
            "tune.space.training.weight_decay",
            {"low": 0.0, "high": 0.1},
            "parameter tune.space.training.weight_decay.kind: got nothing; expected a kind",
        ),
        ("run", "../up", "parameter run: got '../up'"),
        ("run", "", "parameter run: got ''"),
        ("predict.output", "answers.txt", "got 'answers.txt'; expected a name that ends in .jsonl"),
        ("feature_set", "/outside", "parameter feature_set: got '/outside'"),
    ],
)
def test_a_wrong_parameter_is_named(
    base: dict[str, Any], dotted: str, value: object, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        check_parameters(_changed(base, dotted, value))
    assert said in str(caught.value)


def test_a_missing_parameter_is_named(base: dict[str, Any]) -> None:
    lacking = copy.deepcopy(base)
    del lacking["training"]["updates"]
    with pytest.raises(InputError, match=r"parameter training\.updates: got nothing"):
        check_parameters(lacking)


def test_every_fault_is_named_at_once(base: dict[str, Any]) -> None:
    twice_wrong = _changed(_changed(base, "training.lr", 0), "features.strid", 1)
    with pytest.raises(InputError) as caught:
        check_parameters(twice_wrong)
    assert "training.lr" in str(caught.value)
    assert "features.strid" in str(caught.value)


ALL_INPUTS = {"params:data", "params:model", "checkpoints"}


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "data.train, data.dev, model.encoder"),
        ({"data.train": "a.json", "data.dev": "b.json"}, "model.encoder"),
        ({"model.encoder": "folder"}, "data.train, data.dev"),
    ],
)
def test_what_a_user_has_to_give_is_asked_for_at_once(
    base: dict[str, Any], given: dict[str, str], missing: str
) -> None:
    raw = base
    for name in ("data.train", "data.dev", "model.encoder"):
        raw = _changed(raw, name, given.get(name, ""))
    parameters = check_parameters(raw)
    with pytest.raises(InputError) as caught:
        check_before_run(parameters, ALL_INPUTS, in_catalog=())
    assert f"parameter {missing}: got nothing" in str(caught.value)
    command = "kedro run --env own --params data.train=train.json,data.dev=dev.json,model.encoder="
    assert command in str(caught.value)
    # Pipelines that read neither can run.
    check_before_run(parameters, {"predictions"}, in_catalog=())


def test_who_learns_from_a_teacher_names_one(base: dict[str, Any]) -> None:
    plain = check_parameters(base)
    unlabelled = check_parameters(_changed(base, "distil.unlabelled", "more.jsonl"))
    for parameters, named in ((plain, "distil"), (unlabelled, "train")):
        with pytest.raises(InputError, match=r"distil\.teacher: got nothing"):
            check_before_run(parameters, {"params:distil"}, in_catalog=(), named=(named,))
    check_before_run(unlabelled, {"params:predict.input"}, in_catalog=(), named=("predict",))


def test_the_embedded_encoder_is_trained_on_the_embedded_data_alone(base: dict[str, Any]) -> None:
    own_data = _changed(base, "data.train", "own.json")
    assert base["model"]["encoder"] == str(ENCODER)
    for encoder in (str(ENCODER), str(Path.cwd() / ENCODER)):
        parameters = check_parameters(_changed(own_data, "model.encoder", encoder))
        with pytest.raises(InputError, match=r"--env own --params data\.train=own\.json,data\.dev"):
            check_before_run(parameters, ALL_INPUTS, in_catalog=())
        check_before_run(parameters, ALL_INPUTS - {"checkpoints"}, in_catalog=())
    check_before_run(check_parameters(base), ALL_INPUTS, in_catalog=())
    with pytest.raises(InputError, match="trained on the catalog's questions"):
        check_before_run(check_parameters(base), ALL_INPUTS, in_catalog={"train"})
    other = check_parameters(_changed(own_data, "model.encoder", "own"))
    check_before_run(other, ALL_INPUTS, in_catalog=())


def test_questions_of_the_catalog_need_not_be_named(base: dict[str, Any]) -> None:
    unnamed = _changed(_changed(base, "data.train", ""), "model.encoder", "own")
    with pytest.raises(InputError, match=r"parameter data\.train: got nothing"):
        check_before_run(check_parameters(unnamed), ALL_INPUTS, in_catalog={"dev"})
    check_before_run(check_parameters(unnamed), ALL_INPUTS, in_catalog={"train"})


def test_several_files_of_any_names(base: dict[str, Any]) -> None:
    names = ["a, b.json", "c $d.json"]
    for key in ("train", "dev", "validation"):
        data = check_parameters(_changed(base, f"data.{key}", names)).data
        assert getattr(data, key) == tuple(names)
    assert data.validation_file == tuple(names)


def test_no_parameter_has_a_second_home_in_code() -> None:
    """Oracle: the rule that values live in conf/ alone, so no field may have a default."""

    def defaults(model: type[Any], at: str) -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            if not field.is_required():
                found.append(f"{at}{name}")
            if model is TuneConfig and name == "space":
                continue  # what has no range there is not searched, which is no value
            if hasattr(field.annotation, "model_fields"):
                found += defaults(field.annotation, f"{at}{name}.")
        return found

    assert defaults(Parameters, "") == []
