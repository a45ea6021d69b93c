"""What is missing or was made with other settings. Oracle: what follows from what, by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import AbstractDataset, DataCatalog
from kedro_datasets.json import JSONDataset

from roberta_squad_pipeline.pipeline_registry import register_pipelines
from roberta_squad_pipeline.runs.made_with import QUESTION_FILES, MadeWith, own_questions
from roberta_squad_pipeline.runs.parameters import load_parameters
from roberta_squad_pipeline.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"
CHAIN = register_pipelines()["__default__"]
NAMES = {node.name for node in CHAIN.nodes}
EVALUATION = {node.name for node in CHAIN.only_nodes_with_tags("evaluation").nodes}
FEATURES = {f"features.build_{split}_features" for split in ("train", "validation", "dev")}
TRAIN = "train.train_reader"

Outdated = Callable[..., set[str]]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., MadeWith]:
    """Of the chain with other parameters, on a catalog in which every output is a JSON file."""
    monkeypatch.chdir(tmp_path)
    files = {name: JSONDataset(filepath=f"{name}.json") for name in CHAIN.all_outputs()}

    def of(questions: AbstractDataset[Any, Any] | None = None, **params: Any) -> MadeWith:
        own = {"dev_questions": questions} if questions else {}
        given = params | {"model": {"encoder": "encoder"} | params.get("model", {})}
        loader = OmegaConfigLoader(
            str(CONF), env="base", runtime_params=given, **CONFIG_LOADER_ARGS
        )
        return MadeWith(DataCatalog(files | own), load_parameters(loader))

    return of


@pytest.fixture
def outdated(made: Callable[..., MadeWith]) -> Outdated:
    """Names of the chain's nodes that would run, after the whole chain has run once."""
    first = made()
    for node in CHAIN.nodes:
        for output in node.outputs:
            Path(f"{output}.json").write_text("{}")
            first.keep(output, node)
    return lambda **params: {node.name for node in made(**params).outdated(CHAIN).nodes}


def test_before_the_first_run_all_is_missing(made: Callable[..., MadeWith]) -> None:
    assert {node.name for node in made().outdated(CHAIN).nodes} == NAMES
    assert made().existing(CHAIN.all_outputs()) == []


@pytest.mark.parametrize("name", ["download", "validate", "train"])
def test_what_a_pipeline_makes_alone_the_chain_has(
    made: Callable[..., MadeWith], name: str
) -> None:
    alone, first = register_pipelines()[name], made()
    for node in alone.nodes:
        for output in node.outputs:
            Path(f"{output}.json").write_text("{}")
            first.keep(output, node)
    assert made().outdated(CHAIN).all_outputs().isdisjoint(alone.all_outputs())


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, set()),
        ({"run": "demo", "distributed": {"max_restarts": 1}}, set()),
        ({"training": {"lr": 1.0}}, {TRAIN} | EVALUATION),
        ({"model": {"dropout": 0.5}}, {TRAIN} | EVALUATION),
        ({"features": {"stride": 9}}, NAMES - {"download.fetch_squad_files"}),
        ({"data": {"on_misaligned": "drop"}}, NAMES),
        ({"inference": {"n_best": 3}}, EVALUATION),
        ({"calibrate": True}, EVALUATION),
        ({"distil": {"weight": 1.0}}, {TRAIN} | EVALUATION),
        ({"distil": {"unlabelled": "more.jsonl"}}, NAMES),
    ],
)
def test_settings_that_changed(
    outdated: Outdated, params: dict[str, Any], expected: set[str]
) -> None:
    assert outdated(**params) == expected


def test_files_that_changed(outdated: Outdated) -> None:
    """A missing output that would be the same again makes no other one old; new weights do."""
    Path("metrics.json").unlink()
    assert outdated() == {"evaluate.score_predictions"}
    Path("encoder").mkdir()
    Path("encoder/model.safetensors").touch()
    assert outdated() > FEATURES


def test_data_that_are_not_given(made: Callable[..., MadeWith]) -> None:
    """What else lies in the project's folder does not count."""
    before = made(data={"train": ""}).names(CHAIN)
    Path("mlflow.db").touch()
    assert made(data={"train": ""}).names(CHAIN) == before


@pytest.mark.parametrize("named", ["shards/dev-*.jsonl", "shards", "both.files.json"])
def test_one_of_several_files_that_changed(made: Callable[..., MadeWith], named: str) -> None:
    """Named by a pattern, as a folder or in a list, as parameter or in the catalog."""
    shards = [Path(f"shards/dev-{number}.jsonl") for number in range(2)]
    shards[0].parent.mkdir()
    for shard in shards:
        shard.touch()
    Path("both.files.json").write_text(json.dumps([str(shard) for shard in shards]))

    def names() -> list[dict[str, str]]:
        entry = DataCatalog.from_config(
            {"dev_questions": {"type": QUESTION_FILES, "filepath": named}}
        )
        return [
            made(data={"dev": named}).names(CHAIN),
            made(questions=entry["dev_questions"]).names(CHAIN),
        ]

    before = names()
    assert before == names()
    shards[1].write_text("{}")
    assert all(one != other for one, other in zip(before, names(), strict=True))


def test_a_teacher_that_changed(outdated: Outdated) -> None:
    Path("teacher").mkdir()
    Path("teacher/model.safetensors").touch()
    assert outdated(distil={"teacher": "teacher"}) == {TRAIN} | EVALUATION
    assert outdated() == set()


def test_questions_of_an_entry_of_its_own(outdated: Outdated) -> None:
    assert outdated(questions=JSONDataset(filepath="mine.json")) == NAMES


def test_an_output_that_was_replaced_halfway_is_missing(
    outdated: Outdated, made: Callable[..., MadeWith]
) -> None:
    made().forget("reader")
    assert outdated() == {TRAIN}
    node = next(node for node in CHAIN.nodes if node.name == TRAIN)
    made(training={"lr": 1.0}).keep("reader", node)
    assert outdated() == {TRAIN}
    assert made().existing({"reader", "tracker"}) == ["reader"]


def test_features_of_an_entry_of_its_own(tmp_path: Path) -> None:
    """By place, settings and change of the file; as conf/base has it, it is no entry."""
    file = tmp_path / "dev.json"
    file.write_text("{}")

    def name(credentials: str = "a", **entry: Any) -> dict[str, str]:
        catalog = DataCatalog.from_config(
            {"dev_questions": {"type": QUESTION_FILES, "credentials": "mine", **entry}},
            {"mine": {"key": credentials}},
        )
        return own_questions(catalog)

    mine = {"filepath": str(file), "fs_args": {"anon": True}}
    first = name(**mine)
    assert name() == {}
    assert first == name(**mine, credentials="b")
    assert first != name()
    assert first != name(filepath=str(file))
    assert first != name(**mine | {"filepath": [str(file), str(file)]})
    assert first != name(**mine | {"type": "json.JSONDataset"})
    file.write_text("{ }")
    assert first != name(**mine)
