"""What MLflow keeps of a run of Kedro."""

import json
import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from kedro.io import CatalogProtocol

from roberta_squad_pipeline.common.same_run import digest, surroundings, weights_of
from roberta_squad_pipeline.runs.experiments import scaled
from roberta_squad_pipeline.runs.fingerprint import RESOLVED, description, recipe
from roberta_squad_pipeline.runs.finished import (
    MadeOf,
    keep,
    keep_undone,
    last_session,
    of_files,
)
from roberta_squad_pipeline.runs.parameters import Parameters
from roberta_squad_pipeline.runs.plan import READER, RunPlan
from roberta_squad_pipeline.tracking.provenance import Provenance, provenance

if TYPE_CHECKING:
    from roberta_squad_pipeline.tracking.mlflow_run import MlflowRun
    from roberta_squad_pipeline.tracking.models import Registration
    from roberta_squad_pipeline.tracking.spool import Status

METRICS_GROUP = "dev/"
"""Prefix of metrics in MLflow, which keeps the scorer's 13 figures together."""

JUDGED, EVALUATION = "questions", "evaluation"
"""Datasets: all dev questions with their outcomes, and the scores."""

SQUAD_FILES = "squad_files"
"""The dataset that records the data, once they are validated."""

_TRAINED_WITH = {"model", "training"}
"""Sections of the parameters that are used only in training."""

WEIGHTS_TAG, MEMBERS_TAG, _SURROUNDINGS_TAG = "reader.weights", "members", "surroundings"
"""Tags of a run: short names of the weights that it made, of an ensemble's members' weights by
their names, and of its code and libraries."""

_logger = logging.getLogger(__name__)


class Recording:
    """What MLflow keeps of a run, from its parameters to its model.

    The catalog says which datasets are recorded: `metadata: mlflow:` is `metrics`, `params` or
    `artifact`. Nothing is recorded unless `begin` is called, except an export.

    Args:
        plan: The run.
        made_of: Its settings.
    """

    def __init__(self, plan: RunPlan, made_of: MadeOf) -> None:
        self._plan, self._made_of = plan, made_of
        self.run: MlflowRun | None = None
        self._trained_as: str | None = None
        self._evaluated_model: str | None = None
        self._undone: set[str] | None = None

    @cached_property
    def provenance(self) -> Provenance:
        """The code and the command of the run."""
        return provenance(self._plan.project, self._plan.redaction)

    def begin(self, run_params: dict[str, Any]) -> None:
        """Opens the run in MLflow, or goes on with that of the last session.

        Args:
            run_params: What Kedro says of the run.

        Raises:
            InputError: MLflow does not answer.
        """
        self.run = self._reopened(run_params) or self._opened(run_params)

    def _opened(self, run_params: dict[str, Any]) -> "MlflowRun":
        """A new MLflow run, with the parameters and tags of this one."""
        from roberta_squad_pipeline.tracking.mlflow_run import open_run

        if self._plan.trains and (to_scale := scaled_settings(self._plan.parameters)):
            experiment = self._plan.parameters.experiment
            _logger.info(
                "experiment %s to scale (globals.yml): %s", experiment, ", ".join(to_scale)
            )
        # Not all experiments: the settings of this one are in the other sections.
        others = {"experiments", "predict", "export", "tune"}
        if not self._plan.combines:
            others.add("ensemble")
        parameters = self._plan.parameters.model_dump(mode="json", exclude=others)
        recorded = parameters if self._plan.trains else self._with_reader_settings(parameters)
        parent = self._plan.parameters.tracking.parent_run
        run = open_run(
            self._plan.journal,
            self._plan.parameters.run,
            self.provenance,
            {
                **({"mlflow.parentRunId": parent} if parent else {}),
                **self._subject_tags(),
                _SURROUNDINGS_TAG: digest(surroundings()),
                "seed": str(recorded.get("training", {}).get("seed")),
                "kedro.pipelines": ",".join(run_params["pipeline_names"] or ["__default__"]),
                "kedro.env": run_params["env"] or "base",
            },
        )
        if self._plan.parameters.tracking.system_metrics:
            run.watch_machine()
        run.log_params(self._plan.redaction.record(recorded))
        if not self._plan.makes_reader:
            self._link_training_run(run)
        resolved = self._plan.redaction.record(
            {"parameters": parameters, "catalog": self._plan.catalog}
        )
        run.log_text(yaml.safe_dump(resolved, sort_keys=False), "configuration.yml")
        return run

    def _reopened(self, run_params: dict[str, Any]) -> "MlflowRun | None":
        """The MLflow run that single nodes continue: that of the last session with the same name.

        There is none if they train, or if settings, code or libraries have changed since.
        """
        from roberta_squad_pipeline.tracking.mlflow_run import reopen_run

        last = last_session(self._made_of, self._plan.scores)
        if (
            self._plan.trains
            or not run_params["node_names"]
            or last is None
            or last.mlflow_run is None
        ):
            return None
        now = {_SURROUNDINGS_TAG: digest(surroundings())}
        run = reopen_run(self._plan.journal, now, last.mlflow_run)
        if run is not None:
            self._trained_as = last.trained_as
            self._undone = {*last.undone, *(node.name for node in self._plan.nodes.nodes)}
            # Now, in case this process is killed.
            keep_undone(self._undone, self._plan.scores)
        return run

    def record(self, dataset_name: str, data: Any) -> None:
        """Records a dataset that was saved, if the catalog says so."""
        role = self.role(dataset_name)
        if self.run is None or role is None:
            return
        if role == "params":
            section = RESOLVED.get(dataset_name, dataset_name)
            hidden = self._plan.redaction.record({section: data})[section]
            self.run.log_params({dataset_name: hidden})
            if dataset_name == SQUAD_FILES:
                self.run.log_datasets(hidden)
            return
        if role == "metrics":
            grouped = {f"{METRICS_GROUP}{name}": value for name, value in data.items()}
            self.run.log_scores(grouped)
        self.run.log_file(self._plan.path(dataset_name))

    def role(self, dataset_name: str) -> str | None:
        """What the catalog says that a dataset is recorded as."""
        metadata = self._plan.catalog.get(dataset_name, {}).get("metadata", {})
        role: str | None = metadata.get("mlflow")
        return role

    def done(self, node: str) -> None:
        """Records that a node of a run that goes on is done."""
        if self._undone is not None:
            self._undone.discard(node)

    def complete(
        self,
        files: dict[str, dict[str, Any]],
        evaluation: dict[str, Any],
        said: list[str],
        catalog: CatalogProtocol[Any, Any],
    ) -> dict[str, str]:
        """Records what results depend on, the reader as a model, and what was exported.

        The run's checkpoints are kept until now, in case a node after the training fails.

        Args:
            files: The record of the run's SQuAD files; empty if it has none.
            evaluation: Its scores; empty if it has none.
            said: What is said of them at the end of the run.
            catalog: Kedro's.

        Returns:
            Addresses of pages, by what they show.
        """
        if (run := self.run) is None:
            return self._log_export() if self._plan.exports else {}
        from roberta_squad_pipeline.evaluation.questions import surest_answer

        made = self._plan.nodes.all_outputs()
        if files:
            self._describe(run, files)
        # Where single nodes are run, the reader was logged before it had its threshold.
        if self._plan.makes_reader or (self._trained_as is not None and EVALUATION in made):
            # Not sooner: the evaluation adds threshold and calibration to the reader's folder.
            reader = self._plan.path(READER)
            run.set_tag(WEIGHTS_TAG, digest(weights_of(reader)))
            example = surest_answer(catalog.load(JUDGED)) if JUDGED in made else None
            run.log_model(reader, self._registration(files, evaluation), example)
        dataset = _scored_on(files)
        if self._evaluated_model is not None and EVALUATION in made and dataset is not None:
            run.score_model(self._evaluated_model, dataset)
        if self._plan.makes_reader and not self._plan.trains:
            run.set_tag(MEMBERS_TAG, json.dumps(self._members()))
        if self._plan.trains:
            self._remove_checkpoints(run.run_id)
        recorded = {"mlflow_run": run.run_id, "trained_as": self._trained_as}
        keep(of_files(self._made_of.model_copy(update=recorded), files), self._plan.scores)
        if said:
            run.describe(said)
        return self._log_export() if self._plan.exports else run.pages

    def prune(self, reason: str) -> None:
        """Ends a run that a search has ended."""
        if self.run is not None:
            self.run.set_tag("pruned", reason)
            self._remove_checkpoints(self.run.run_id)
            self.end("KILLED")

    def end(self, status: "Status") -> None:
        """Closes the run, if one is open; as FAILED while one of its nodes has yet to succeed."""
        if self.run is None:
            return
        if self._undone is not None:
            keep_undone(self._undone, self._plan.scores)
        self.run.end("FAILED" if self._undone and status == "FINISHED" else status)
        self.run = None

    def _remove_checkpoints(self, run_id: str) -> None:
        from roberta_squad_pipeline.training.resume import remove_finished

        remove_finished(self._plan.path("checkpoints"), run_id)

    def _describe(self, run: "MlflowRun", files: dict[str, dict[str, Any]]) -> None:
        """Records what the scores of a run depend on besides parameters, if it trained as well.

        It may have trained in an earlier session, with the same settings, data and weights.
        """
        described = description(self._plan.parameters, files)
        own = digest(described)
        if self._plan.trains:
            self._trained_as = own
        if not self._plan.has("evaluate.score_predictions") or self._trained_as != own:
            return
        run.log_params({name: described[name] for name in ("code", "libraries", "weights")})
        run.set_tag("fingerprint", own)
        run.set_tag("recipe", recipe(described))
        run.set_tag("data", files["dev"]["sha256"])

    def _registration(
        self, files: dict[str, dict[str, Any]], evaluation: dict[str, Any]
    ) -> "Registration":
        """The name and tags of the run's reader in the registry."""
        from roberta_squad_pipeline.tracking.models import Registration

        tags = {"run": self._plan.parameters.run, "git": self.provenance.git_commit}
        dataset = _scored_on(files) if evaluation else None
        if dataset is not None:
            tags |= {"best_f1": f"{evaluation['scores']['best_f1']:.2f}", "data": dataset[1]}
        return Registration(
            name=self._plan.parameters.tracking.registered_model, tags=tags, dataset=dataset
        )

    def _log_export(self) -> dict[str, str]:
        """Makes what a reader was exported to a run and a model of its own; returns the pages."""
        from roberta_squad_pipeline.tracking.mlflow_run import open_run
        from roberta_squad_pipeline.tracking.models import Registration

        folder, reader = self._plan.path("onnx_folder"), self._plan.parameters.run
        tags = {"reader": reader, "kedro.pipelines": "export_onnx"}
        run = open_run(self._plan.journal, f"{reader}/onnx", self.provenance, tags)
        self._link_training_run(run)
        run.log_file(folder / "export.json")
        precision = json.loads((folder / "export.json").read_bytes())["precision"]
        registration = Registration(
            name=f"{self._plan.parameters.tracking.registered_model}_onnx",
            tags={"run": reader, "git": self.provenance.git_commit, "precision": precision},
            dataset=None,
        )
        run.log_model(folder, registration, None)
        run.end("FINISHED")
        return run.pages

    def _subject_tags(self) -> dict[str, str]:
        """The tag of the experiment; a run of other runs' readers does not belong to one."""
        run, reader = self._plan.parameters.run, self._plan.parameters.reader
        if reader is not None:
            return {"experiment": run, "reader": reader}
        own = self._plan.own_experiment or self._plan.parameters.experiment or run
        return {"experiment": run if self._plan.combines else own}

    def _with_reader_settings(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters, with those that the reader was trained with as far as it records them."""
        header = self._plan.path(READER) / "reader.json"
        there = header.is_file() and not self._plan.makes_reader
        recipe = json.loads(header.read_bytes())["recipe"] if there else {}
        others = {name: parameters[name] for name in parameters.keys() - _TRAINED_WITH}
        return others | {name: recipe[name] for name in recipe.keys() & _TRAINED_WITH}

    def _link_training_run(self, run: "MlflowRun") -> None:
        """Records which run trained the reader, found by the sha256 of its weights."""
        from roberta_squad_pipeline.tracking.store import finished_runs

        weights = digest(weights_of(self._plan.path(READER)))
        trained = finished_runs(self._plan.journal, {WEIGHTS_TAG: weights})
        if trained:
            # The same settings, seed and data under two names give the same weights.
            reader = self._plan.parameters.reader or self._plan.parameters.run
            own = next((one for one in trained if one.name == reader), trained[0])
            run.set_tag("training_run", own.run_id)
            self._evaluated_model = own.model_id

    def _members(self) -> dict[str, str]:
        """Short names of the weights of an ensemble's members."""
        recipe = json.loads((self._plan.path(READER) / "reader.json").read_bytes())["recipe"]
        members = (recipe.get("ensemble") or recipe["soup"])["members"]
        return {name: self._made_of.results["ensemble"]["weights"][name] for name in members}


def _scored_on(files: dict[str, dict[str, Any]]) -> tuple[str, str] | None:
    """Name and digest of the dev file; None if it is not known."""
    from roberta_squad_pipeline.tracking.models import digest_of

    dev = files.get("dev")
    return (Path(dev["path"]).name, digest_of(dev)) if dev else None


def scaled_settings(parameters: Parameters) -> list[str]:
    """Describes how the scale has changed an experiment's settings, one text per setting.

    Those that were given explicitly are not scaled.
    """
    if parameters.experiment is None:
        return []
    row, scale = parameters.experiments.rows[parameters.experiment], parameters.scale
    here = scaled(row, scale)
    factors = {"updates": scale.updates, "warmup_updates": scale.updates, "lr": scale.lr}
    return [
        f"{name} {getattr(row, name):g} \u00d7 {factor:g} = {getattr(here, name):g}"
        for name, factor in factors.items()
        if factor != 1 and getattr(parameters.training, name) == getattr(here, name)
    ]
