"""Trained readers as models that MLflow keeps, registers and serves."""

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelInput, LoggedModelOutput, Metric
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_MODEL_VERSIONS,
    MLFLOW_SOURCE_NAME,
    MLFLOW_USER,
)

from roberta_squad_pipeline.common.strict import StrictModel

MODEL = "reader"
"""Name of a run's model, and of the artifact in it that is the reader's folder."""

BEST = "best"
"""Alias of the version with the highest F1."""

_PACKAGE = Path(__file__).parents[1]
_CODE = Path(__file__).with_name("served_reader.py")
_NEEDS = (
    *("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "safetensors", "tokenizers"),
    "transformers",
)
_MODEL_ID = "model_id"
_EXAMPLE = {
    "question": "Which river flows beneath the Krearkock Bridge?",
    "passage": "The Girber Bridge, built by Lirban Limited, was drawn by Slivus Dathow. The arches "
    "of the Krearkock Bridge are of cedar. The Krearkock Bridge crosses the Shilgel.",
}
_TYPES = {"string": "string", "int64": "long", "float64": "double"}
_PARAMS = {"threshold": "double", "n_best": "long"}
_TAGS_OF_RUN = (MLFLOW_USER, MLFLOW_SOURCE_NAME, MLFLOW_GIT_COMMIT)
"""What the page of a model shows of the run that made it."""

Score = tuple[str, float, int, int]
"""Name, value, time in milliseconds and step."""

Scored = tuple[str, str]
"""Name and digest of the file of questions that a reader was scored on."""


class Registration(StrictModel):
    """A model's name in the registry, and its tags there."""

    name: str
    tags: dict[str, str]
    """Tags of the version; `best_f1` and `data` decide about the alias `best`."""
    dataset: Scored | None


def digest_of(file: Mapping[str, Any]) -> str:
    """The digest of a file of questions, as MLflow shows it."""
    return str(file["sha256"])[:12]


def pack_model(reader: Path, folder: Path, example: dict[str, str] | None) -> None:
    """Writes a reader as an MLflow model from code: this package's files, and no pickle.

    Args:
        reader: The trained reader's folder; it is copied.
        folder: The folder to create.
        example: A question and a passage that answers it; None for one of the embedded data.

    Raises:
        MlflowException: MLflow does not accept the reader.
        OSError: The folder cannot be written.
    """
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    from roberta_squad_pipeline.inference.answering import ANSWER_COLUMNS

    columns = ANSWER_COLUMNS | {"error": "string"}
    pyfunc.save_model(
        str(folder),
        python_model=str(_CODE),
        artifacts={MODEL: str(reader)},
        code_paths=[str(_PACKAGE)],
        # With a list for pip instead, MLflow would inspect every installed package.
        conda_env=_environment(reader),
        signature=ModelSignature(
            inputs=Schema([ColSpec("string", name) for name in _EXAMPLE]),
            # Each may be missing if a row is wrong; `n_best` adds a column of candidates.
            outputs=Schema(
                [ColSpec(_TYPES[kind], name, required=False) for name, kind in columns.items()]
            ),
            params=ParamSchema([ParamSpec(name, kind, None) for name, kind in _PARAMS.items()]),
        ),
        input_example=pd.DataFrame([example or _EXAMPLE]),
    )


def log_model(
    client: MlflowClient,
    run_id: str,
    folder: Path,
    registration: Registration,
    scores: Sequence[Score],
) -> None:
    """Uploads what `pack_model` wrote as a run's model, and registers it.

    If it is called again after the store was lost, it continues with the same model.

    Args:
        client: A client of the run's store.
        run_id: MLflow's id of the run.
        folder: Written by `pack_model`; the model's id is written beside it.
        registration: The registered model of which it becomes the next version.
        scores: The reader's scores that the run recorded.

    Raises:
        MlflowException: The store does not accept the model, or does not answer.
    """
    from mlflow.models import Model

    record = folder.with_name(_MODEL_ID)
    run = client.get_run(run_id)
    if record.exists():
        logged = client.get_logged_model(record.read_text())
    else:
        tags = {name: run.data.tags[name] for name in _TAGS_OF_RUN if name in run.data.tags}
        logged = client.create_logged_model(run.info.experiment_id, MODEL, run_id, tags)
        record.write_text(logged.model_id)
    described = Model.load(str(folder))
    described.model_id = described.model_uuid = logged.model_id
    described.run_id = run_id
    described.artifact_path = logged.artifact_location
    described.save(str(folder / "MLmodel"))
    client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    outputs = run.outputs.model_outputs if run.outputs else []
    if not any(one.model_id == logged.model_id for one in outputs):
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    _log_scores(client, run_id, logged.model_id, registration.dataset, scores)
    _register(client, run_id, logged, registration)


def score_model(
    client: MlflowClient, run_id: str, model_id: str, dataset: Scored, scores: Sequence[Score]
) -> None:
    """Records a run's scores with the model of another run, which it evaluated.

    Args:
        client: A client of the store of both.
        run_id: MLflow's id of the run.
        model_id: MLflow's id of the model.
        dataset: What it was scored on.
        scores: As the run recorded them.

    Raises:
        MlflowException: The store does not know the model, or does not answer.
    """
    inputs = client.get_run(run_id).inputs
    used = inputs.model_inputs if inputs else []
    if not any(one.model_id == model_id for one in used):
        client.log_inputs(run_id, models=[LoggedModelInput(model_id)])
    _log_scores(client, run_id, model_id, dataset, scores)


def _log_scores(
    client: MlflowClient,
    run_id: str,
    model_id: str,
    dataset: Scored | None,
    scores: Sequence[Score],
) -> None:
    # MLflow has them for the run already, and accepts them for the model only once.
    metrics = [Metric(*score, model_id, *(dataset or (None, None))) for score in scores]
    client.log_batch(run_id, metrics=metrics)


def _register(
    client: MlflowClient, run_id: str, logged: LoggedModel, registration: Registration
) -> None:
    name = registration.name
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    known = [one for one in versions if one.source == logged.artifact_location]
    # Not models:/ID, which MLflow would look up in the process's default store.
    version = (
        known[0]
        if known
        else client.create_model_version(
            name,
            logged.artifact_location,
            run_id,
            tags=registration.tags,
            await_creation_for=0,
            model_id=logged.model_id,
        )
    )
    if MLFLOW_MODEL_VERSIONS not in logged.tags:
        # Without it the model's page says that it is not registered.
        versions_of_model = json.dumps([{"name": name, "version": version.version}])
        client.set_logged_model_tags(logged.model_id, {MLFLOW_MODEL_VERSIONS: versions_of_model})
    best = client.get_registered_model(name).aliases.get(BEST)
    if _is_better(registration.tags, best and client.get_model_version(name, str(best)).tags):
        client.set_registered_model_alias(name, BEST, version.version)


def _is_better(own: Mapping[str, str], best: Mapping[str, str] | None) -> bool:
    """Whether the alias moves; scores on other questions cannot be compared, so it stays."""
    if "best_f1" not in own:
        return False
    if not best:
        return True
    return own["data"] == best.get("data") and float(own["best_f1"]) > float(best["best_f1"])


def _environment(reader: Path) -> dict[str, object]:
    from roberta_squad_pipeline.reader.onnx_reader import ONNX_MODEL

    computes = "onnxruntime" if (reader / ONNX_MODEL).is_file() else "torch"
    # A build such as +cpu is not on the package index.
    pinned = [f"{name}=={version(name).partition('+')[0]}" for name in (*_NEEDS, computes)]
    python = ".".join(str(part) for part in sys.version_info[:3])
    return {
        "name": "roberta_squad_pipeline",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": pinned}],
    }
