"""Kedro's hooks: check parameters and claim files before a run, and track it in MLflow."""

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.redaction import hide_in_logs, keep_secret, redaction
from roberta_squad_pipeline.common.same_run import digest, surroundings, weights_of
from roberta_squad_pipeline.demo import ENCODER as DEMO_ENCODER
from roberta_squad_pipeline.demo import unpack_encoder
from roberta_squad_pipeline.runs.fingerprint import QUESTION_FILES, QUESTIONS
from roberta_squad_pipeline.runs.made_with import MadeWith
from roberta_squad_pipeline.runs.members import member_names
from roberta_squad_pipeline.runs.pruning import Pruned
from roberta_squad_pipeline.runs.run_lock import Claim, held
from roberta_squad_pipeline.tracking.tracker import Tracker

if TYPE_CHECKING:
    from roberta_squad_pipeline.runs.parameters import Parameters
    from roberta_squad_pipeline.tracking.mlflow_run import MlflowRun
    from roberta_squad_pipeline.tracking.models import Registration
    from roberta_squad_pipeline.tracking.provenance import Provenance
    from roberta_squad_pipeline.tracking.spool import Status

TRACKED = "tracked"
"""Tag of the nodes for which a run is opened."""

METRICS_GROUP = "dev/"
"""Prefix of metrics in MLflow, which keeps the scorer's 13 figures together."""

READER, JUDGED, REPORT = "reader", "questions", "report"
"""Datasets: the trained reader, all dev questions with their outcomes, the report."""

EVALUATION, CROSSFIT = "evaluation", "metrics_crossfit"
SCORES = {EVALUATION, CROSSFIT}
"""Datasets with the scores that are printed at the end."""

FETCHED, SQUAD_FILES = "fetched_files", "squad_files"
"""Datasets that record the data, before and after they are validated."""

FEATURES = {"train_features", "validation_features", "dev_features"}
FEATURE_SET = {FETCHED, SQUAD_FILES, "validation", *FEATURES}
"""Datasets in folders named by `feature_set`; those of tracked nodes are named by the run."""

RESOLVED = {"trained_with": "training", "answered_with": "inference"}
"""Datasets with resolved settings, and the section of the parameters that they belong to."""

_TRAINED_WITH = {"model", "training"}
"""Sections of the parameters that are used only in training."""

WEIGHTS_TAG, MEMBERS_TAG, _SURROUNDINGS_TAG = "reader.weights", "members", "surroundings"
"""Tags of a run: short names of the weights that it made, of an ensemble's members' weights by
their names, and of its code and libraries."""

EXPORT = "export_reader"
"""The node that exports a reader."""

TRACKER, PROVENANCE, REDACTION, EXPECTED = "tracker", "provenance", "redaction", "expected_settings"
"""Inputs that no dataset holds: what a node records metrics through, which code is run, what must
not be recorded, and the settings of each experiment."""

LOCAL = "local"
"""The environment with this machine's own settings, of which nothing is recorded."""

_logger = logging.getLogger(__name__)


class TrackingHooks:
    """Opens an MLflow run for each Kedro run that has a tracked node.

    Before that, they claim what the run reads and writes, so that runs do not interfere. The
    catalog says which datasets are recorded: `metadata: mlflow:` is `metrics`, `params` or
    `artifact`.
    """

    def __init__(self) -> None:
        self._held = ExitStack()
        self._run: MlflowRun | None = None
        self._provenance: Provenance | None = None
        self._in_catalog: set[str] = set()
        self._forget_run()

    def _forget_run(self) -> None:
        """Resets what belongs to one run, since the sessions of a process share these hooks."""
        self._files: dict[str, dict[str, Any]] | None = None
        self._trains = self._scores_answers = self._makes_reader = self._exports = False
        self._trained_as: str | None = None
        self._undone: set[str] | None = None
        self._report: Path | None = None
        self._scored: dict[str, dict[str, Any]] = {}
        self._example: dict[str, str] | None = None
        self._saved: set[str] = set()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Checks and keeps the parameters of this run."""
        from roberta_squad_pipeline.runs.parameters import load_parameters

        hide_in_logs()
        self._loader: Any = context.config_loader
        self._parameters: Parameters = load_parameters(self._loader)
        self._project = Path(context.project_path)
        self._local = local_settings(Path(context.config_loader.conf_source), context.env)
        self._env = f" --env {context.env}" if self._local is None else ""

    @hook_impl
    def after_catalog_created(
        self,
        catalog: CatalogProtocol[Any, Any],
        conf_catalog: dict[str, Any],
        conf_creds: dict[str, Any],
    ) -> None:
        """Keeps the catalog's entries, and the values that must not be recorded.

        Questions that the command names take precedence over entries of the catalog.
        """
        keep_secret(conf_creds)
        self._catalog = conf_catalog
        self._redaction = redaction(self._local)
        named = (self._loader.runtime_params or {}).get("data", {})
        self._in_catalog = set()
        for split, name in QUESTIONS.items():
            entry = conf_catalog.get(name, {"type": QUESTION_FILES})
            if entry["type"] == QUESTION_FILES and not entry.get("filepath"):
                continue
            if split in named:
                credentials = conf_creds.get(str(entry.get("credentials")))
                by_parameter = {"type": QUESTION_FILES, "credentials": credentials}
                catalog[name] = AbstractDataset.from_config(name, by_parameter)
            else:
                self._in_catalog.add(split)

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Claims what the run reads and writes, and opens it in MLflow, before any work is done.

        Raises:
            InputError: Data, encoder or members are missing, another active run has claimed the
                same outputs, MLflow does not answer, the trained reader would replace the one that
                training starts from, or a finished run with other settings would be replaced.
        """
        from roberta_squad_pipeline.runs.parameters import check_before_run

        self._forget_run()
        check_before_run(
            self._parameters,
            pipeline.inputs(),
            in_catalog=self._in_catalog,
            named=run_params["pipeline_names"] or (),
        )
        # If several machines share a run, only the first writes and records.
        if self._parameters.distributed.node_rank > 0:
            return
        if self._parameters.model.encoder == str(DEMO_ENCODER):
            unpack_encoder()
        self._made_with = MadeWith(catalog, self._parameters)
        if run_params["only_missing_outputs"]:
            pipeline = self._made_with.outdated(pipeline)
        self._check_sources(pipeline)
        self._check_other_runs_are_kept(pipeline)
        claim = self._claim(pipeline)
        self._check_finished_runs_are_kept(pipeline, claim)
        self._held.enter_context(held(claim, self._project / self._parameters.locks))
        names = {node.name for node in pipeline.nodes}
        self._exports = EXPORT in names
        if claim.run is None:
            return
        self._trains = "train.train_reader" in names
        self._scores_answers = "evaluate.score_predictions" in names
        self._makes_reader = READER in pipeline.all_outputs()
        if self._trains:
            _tell_of_scale(self._parameters)
        import yaml

        from roberta_squad_pipeline.tracking.mlflow_run import open_run
        from roberta_squad_pipeline.tracking.provenance import provenance

        # Not all experiments: the settings of this one are in the other sections.
        others = {"experiments", "predict", "export", "tune"}
        if not self._combines(pipeline):
            others.add("ensemble")
        parameters = self._parameters.model_dump(mode="json", exclude=others)
        self._provenance = provenance(self._project, self._redaction)
        same_code = {_SURROUNDINGS_TAG: digest(surroundings())}
        self._run = self._reopened(names if run_params["node_names"] else set(), same_code)
        if self._run is not None:
            return
        parent = self._parameters.tracking.parent_run
        recorded = parameters if self._trains else self._with_reader_settings(parameters)
        self._run = open_run(
            project=self._project,
            experiment=self._parameters.tracking.experiment,
            name=self._parameters.run,
            provenance=self._provenance,
            tags={
                **({"mlflow.parentRunId": parent} if parent else {}),
                **self._subject_tags(pipeline),
                **same_code,
                "seed": str(recorded.get("training", {}).get("seed")),
                "kedro.pipelines": ",".join(run_params["pipeline_names"] or ["__default__"]),
                "kedro.env": run_params["env"] or "base",
            },
            unsent=self._project / self._parameters.tracking.unsent,
        )
        if self._parameters.tracking.system_metrics:
            self._run.watch_machine()
        resolved = {
            "parameters": self._redaction.record(parameters),
            "catalog": self._redaction.record(self._catalog),
        }
        self._run.log_params(self._redaction.record(recorded))
        if not self._makes_reader:
            self._link_training_run(self._run)
        self._run.log_text(yaml.safe_dump(resolved, sort_keys=False), "configuration.yml")

    @hook_impl
    def before_node_run(self, node: Node) -> dict[str, Any] | None:
        """Logs each node, and gives it the inputs that no dataset holds, such as the open run."""
        _logger.info("node %s", node.name)
        own = {
            TRACKER: self._run or Tracker(),
            PROVENANCE: self._provenance,
            REDACTION: self._redaction,
        }
        handed: dict[str, Any] = {name: own[name] for name in node.inputs if name in own}
        if EXPECTED in node.inputs:
            from roberta_squad_pipeline.runs.parameters import parameters_by_experiment

            handed[EXPECTED] = parameters_by_experiment(self._loader)
        return handed

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Records parameters that an earlier run has made, such as which data it used."""
        if self._role(dataset_name) == "params":
            self._record(dataset_name, data)
        if dataset_name in SCORES:
            self._scored[dataset_name] = data

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Removes the record of what an earlier version of the dataset was made with.

        Raises:
            InputError: A finished run has features of other data, which would be replaced.
        """
        if dataset_name == FETCHED and not self._parameters.overwrite:
            from roberta_squad_pipeline.runs.finished import check_replacement, of_files

            made = of_files(self._made_of, data)
            check_replacement(made, self._scores().parent, run=None, builds=True)
        self._made_with.forget(dataset_name)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Records datasets as the catalog says, and the settings that they were made with."""
        self._made_with.keep(dataset_name, node)
        self._saved.add(dataset_name)
        self._record(dataset_name, data)
        if dataset_name in FEATURES:
            from roberta_squad_pipeline.runs.finished import keep_features

            keep_features(self._made_of, self._path(dataset_name).parent)
        if dataset_name == REPORT:
            self._report = self._path(dataset_name)
        if dataset_name in SCORES:
            self._scored[dataset_name] = data
        if dataset_name == JUDGED:
            from roberta_squad_pipeline.evaluation.questions import surest_answer

            self._example = surest_answer(data)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Records that a node of a run that goes on is done."""
        if self._undone is not None:
            self._undone.discard(node.name)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Closes the run, and records what its results depend on if it both trained and scored.

        Its checkpoints are kept until now, in case a node after the training fails.
        """
        if self._run is not None and self._files is not None:
            self._describe(self._run, self._files)
        # Where single nodes are run, the reader was logged before it had its threshold.
        tuned = self._trained_as is not None and EVALUATION in self._saved
        if self._run is not None and (self._makes_reader or tuned):
            # Not sooner: the evaluation adds threshold and calibration to the reader's folder.
            reader = self._path(READER)
            self._run.set_tag(WEIGHTS_TAG, digest(weights_of(str(reader))))
            self._run.log_model(reader, self._registration(), self._example)
        if self._run is not None and self._makes_reader and not self._trains:
            self._run.set_tag(MEMBERS_TAG, json.dumps(self._members()))
        if self._run is not None and self._trains:
            self._remove_checkpoints(self._run.run_id)
        if self._run is not None and self._scored.keys() == SCORES:
            self._run.describe(_summary(self._scored))
        if self._run is not None:
            from roberta_squad_pipeline.runs.finished import keep, of_files

            made = self._made_of.model_copy(
                update={"mlflow_run": self._run.run_id, "trained_as": self._trained_as}
            )
            keep(of_files(made, self._files or {}), self._scores())
        pages = self._run.pages if self._run is not None else {}
        if self._exports:
            pages = self._log_export()
        self.end_run("FINISHED")
        self._tell_of_outdated()
        # Not logged, since a log breaks lines, and with them addresses that one can click on.
        for line in self._result(pages):
            click.echo(line)

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Closes the run of a pipeline that failed, or was pruned by a search."""
        if self._run is not None and isinstance(error, Pruned):
            self._run.set_tag("pruned", str(error))
            self._remove_checkpoints(self._run.run_id)
            self.end_run("KILLED")
        self.end_run("FAILED")

    def _remove_checkpoints(self, run_id: str) -> None:
        from roberta_squad_pipeline.training.resume import remove_finished

        remove_finished(self._project / self._catalog["checkpoints"]["filepath"], run_id)

    def _result(self, pages: dict[str, str]) -> Iterator[str]:
        if self._scored.keys() == SCORES:
            yield from _summary(self._scored)
        if self._report is not None:
            yield f"report: {self._report.as_uri()}"
        yield from (f"{name}: {address}" for name, address in pages.items())
        reader = self._parameters.reader or self._parameters.run
        if self._makes_reader:
            yield f"next: kedro ask --run {reader}{self._env}"
        if self._exports:
            yield f"next: kedro ask --run {self._parameters.run}/onnx{self._env}"
        if self._makes_reader and self._scored.keys() == SCORES:
            yield f"      kedro evaluate --run {reader} --data FILE --as NAME{self._env}"

    def _tell_of_outdated(self) -> None:
        """Warns of outputs that depend on what this part of the chain has replaced."""
        chain = pipelines["__default__"]
        replaced = {name for node in chain.nodes for name in node.inputs} & self._saved
        # With the reader of another run, or of several, the other outputs of the chain are not this
        # run's.
        combined = self._makes_reader and not self._trains
        if not replaced or self._parameters.reader is not None or combined:
            return
        outdated = self._made_with.outdated(chain.from_inputs(*replaced))
        if older := self._made_with.existing(outdated.all_outputs()):
            _logger.warning(
                "not updated, and no longer consistent with what was: %s. To update them, give the "
                "same --params to kedro run --only-missing-outputs.",
                ", ".join(older),
            )

    def end_run(self, status: "Status") -> None:
        """Closes the run, if one is open; as FAILED while one of its nodes has yet to succeed."""
        if self._run is None:
            return
        if self._undone is not None:
            from roberta_squad_pipeline.runs.finished import keep_undone

            keep_undone(self._undone, self._scores())
        self._run.end("FAILED" if self._undone and status == "FINISHED" else status)
        self._run = None

    def release(self) -> None:
        """Releases what was claimed, however the run ended."""
        self._held.close()

    def _reopened(self, nodes: set[str], tags: dict[str, str]) -> "MlflowRun | None":
        """The MLflow run that single nodes continue: that of the last session with the same name.

        There is none if they train, or if settings, code or libraries have changed since.
        """
        from roberta_squad_pipeline.runs.finished import keep_undone, last_session
        from roberta_squad_pipeline.tracking.mlflow_run import reopen_run

        last = last_session(self._made_of, self._scores())
        if self._trains or not nodes or last is None or last.mlflow_run is None:
            return None
        run = reopen_run(
            project=self._project,
            experiment=self._parameters.tracking.experiment,
            tags=tags,
            unsent=self._project / self._parameters.tracking.unsent,
            run_id=last.mlflow_run,
        )
        if run is not None:
            self._trained_as, self._undone = last.trained_as, {*last.undone, *nodes}
            # Now, in case this process is killed.
            keep_undone(self._undone, self._scores())
        return run

    def _claim(self, pipeline: Pipeline) -> Claim:
        tracked = any(TRACKED in node.tags for node in pipeline.nodes)
        features = self._made_with.names(pipelines["__default__"].only_nodes_with_tags("data"))
        return Claim(
            run=self._parameters.run if tracked else None,
            feature_set=self._parameters.feature_set if FEATURE_SET & pipeline.datasets() else None,
            builds=bool(FEATURE_SET & pipeline.all_outputs()),
            built_from=digest(surroundings() | features),
        )

    def _check_sources(self, pipeline: Pipeline) -> None:
        """Refuses what the reader is to be made of where it is not there, or would be replaced."""
        model, distil = self._parameters.model, self._parameters.distil
        if self._combines(pipeline):
            members = self._parameters.ensemble.members
            member_names(self._path("readers"), members, self._parameters.run)
        for named, source in (("model.start", model.start), ("distil.teacher", distil.teacher)):
            if source is None or READER not in pipeline.all_outputs():
                continue
            if Path(source).resolve() != self._path(READER).resolve():
                continue
            raise InputError(
                where=f"{named}={source}",
                got="the folder that this run's own reader goes to",
                expected="a reader that is not replaced",
                remedy="Give the run a different name: --params run=NAME",
            )

    def _check_finished_runs_are_kept(self, pipeline: Pipeline, claim: Claim) -> None:
        from roberta_squad_pipeline.runs.finished import (
            check_features,
            check_replacement,
            made_of,
        )

        tracked = pipeline.only_nodes_with_tags(TRACKED)
        with_features = claim.builds or "checkpoints" in tracked.inputs()
        self._made_of = made_of(
            self._parameters,
            tracked,
            self._redaction,
            self._path("readers"),
            with_features=with_features,
        )
        kept, builds = not self._parameters.overwrite, claim.builds
        shared = self._parameters.feature_set != self._parameters.run
        if (shared and kept) if builds else with_features:
            check_features(self._made_of, self._path("dev_features").parent, builds=builds)
        if kept:
            folder = self._scores().parent
            check_replacement(self._made_of, folder, run=claim.run, builds=builds)

    def _scores(self) -> Path:
        """The folder of the run's scores."""
        return self._path("metrics").parent

    def _check_other_runs_are_kept(self, pipeline: Pipeline) -> None:
        run, reader = self._parameters.run, self._parameters.reader
        if reader is None:
            return
        if READER in pipeline.all_outputs():
            raise InputError(
                where=f"reader={reader}",
                got="a pipeline that trains a reader of its own",
                expected="one that answers with the reader of another run",
                remedy=f"kedro evaluate --run {reader} --data FILE --as NAME; model.start is what "
                "training goes on from.",
            )
        if self._path(READER).with_name(run).exists():
            raise InputError(
                where=f"run={run}",
                got="the name of a run that has a reader itself, whose scores would be replaced",
                expected=f"another name for the scores of {reader}",
                remedy="Give one: --params run=NAME, or kedro evaluate … --as NAME",
            )

    def _describe(self, run: "MlflowRun", files: dict[str, dict[str, Any]]) -> None:
        """Records what the scores of a run depend on besides parameters, if it trained as well.

        It may have trained in an earlier session, with the same settings, data and weights.
        """
        from roberta_squad_pipeline.runs.fingerprint import description, fingerprint, recipe

        own = fingerprint(self._parameters, files)
        if self._trains:
            self._trained_as = own
        if not self._scores_answers or self._trained_as != own:
            return
        described = description(self._parameters, files)
        run.log_params({name: described[name] for name in ("code", "libraries", "weights")})
        run.set_tag("fingerprint", own)
        run.set_tag("recipe", recipe(self._parameters, files))
        run.set_tag("data", files["dev"]["sha256"])

    def _registration(self) -> "Registration":
        """The name and tags of the run's reader in the registry."""
        from roberta_squad_pipeline.tracking.models import Registration, digest_of

        tags = {
            "run": self._parameters.run,
            "git": self._provenance.git_commit if self._provenance else "none",
        }
        scores: dict[str, float] = self._scored.get(EVALUATION, {}).get("scores", {})
        dataset = None
        if scores and self._files:
            dev = self._files["dev"]
            tags |= {"best_f1": f"{scores['best_f1']:.2f}", "data": digest_of(dev)}
            dataset = (Path(dev["path"]).name, digest_of(dev))
        return Registration(
            name=self._parameters.tracking.registered_model,
            tags=tags,
            dataset=dataset,
        )

    def _log_export(self) -> dict[str, str]:
        """Makes what a reader was exported to a run and a model of its own; returns the pages."""
        from roberta_squad_pipeline.tracking.mlflow_run import open_run
        from roberta_squad_pipeline.tracking.models import Registration
        from roberta_squad_pipeline.tracking.provenance import provenance

        folder, reader = self._path("onnx_folder"), self._parameters.run
        made = provenance(self._project, self._redaction)
        run = open_run(
            project=self._project,
            experiment=self._parameters.tracking.experiment,
            name=f"{reader}/onnx",
            provenance=made,
            tags={"reader": reader, "kedro.pipelines": "export_onnx"},
            unsent=self._project / self._parameters.tracking.unsent,
        )
        self._link_training_run(run)
        run.log_file(folder / "export.json")
        precision = json.loads((folder / "export.json").read_bytes())["precision"]
        registration = Registration(
            name=f"{self._parameters.tracking.registered_model}_onnx",
            tags={"run": reader, "git": made.git_commit, "precision": precision},
            dataset=None,
        )
        run.log_model(folder, registration, None)
        run.end("FINISHED")
        return run.pages

    def _combines(self, pipeline: Pipeline) -> bool:
        return "params:ensemble" in pipeline.inputs()

    def _subject_tags(self, pipeline: Pipeline) -> dict[str, str]:
        """The tag of the experiment; a run of other runs' readers does not belong to one."""
        run, reader = self._parameters.run, self._parameters.reader
        if reader is not None:
            return {"experiment": run, "reader": reader}
        if self._combines(pipeline):
            return {"experiment": run}
        return {"experiment": self._loader.own_experiment or self._parameters.experiment or run}

    def _with_reader_settings(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters, with those that the reader was trained with as far as it records them."""
        header = self._path(READER) / "reader.json"
        there = header.is_file() and not self._makes_reader
        recipe = json.loads(header.read_bytes())["recipe"] if there else {}
        others = {name: parameters[name] for name in parameters.keys() - _TRAINED_WITH}
        return others | {name: recipe[name] for name in recipe.keys() & _TRAINED_WITH}

    def _link_training_run(self, run: "MlflowRun") -> None:
        """Records which run trained the reader, found by the sha256 of its weights."""
        from roberta_squad_pipeline.tracking.history import finished_runs

        weights = digest(weights_of(str(self._path(READER))))
        trained = finished_runs(
            self._project, self._parameters.tracking.experiment, {WEIGHTS_TAG: weights}
        )
        if trained:
            run.set_tag("training_run", trained[0].run_id)

    def _members(self) -> dict[str, str]:
        """Short names of the weights of the members of the reader that was put together."""
        recipe = json.loads((self._path(READER) / "reader.json").read_bytes())["recipe"]
        members = (recipe.get("ensemble") or recipe["soup"])["members"]
        return {name: self._made_of.results["ensemble"]["weights"][name] for name in members}

    def _role(self, dataset_name: str) -> str | None:
        metadata = self._catalog.get(dataset_name, {}).get("metadata", {})
        role: str | None = metadata.get("mlflow")
        return role

    def _record(self, dataset_name: str, data: Any) -> None:
        role = self._role(dataset_name)
        if self._run is None or role is None:
            return
        if role == "params":
            section = RESOLVED.get(dataset_name, dataset_name)
            hidden = self._redaction.record({section: data})[section]
            self._run.log_params({dataset_name: hidden})
            if dataset_name == SQUAD_FILES:
                self._files = data
                self._run.log_datasets(hidden)
            return
        if role == "metrics":
            grouped = {f"{METRICS_GROUP}{name}": value for name, value in data.items()}
            self._run.log_scores(grouped)
        self._run.log_file(self._path(dataset_name))

    def _path(self, dataset_name: str) -> Path:
        return self._project / str(self._catalog[dataset_name]["filepath"])


def local_settings(conf: Path, env: str | None) -> Path | None:
    """The folder of this machine's own settings, if a run in this environment reads it."""
    # Kedro reads it beside conf/base unless another environment is asked for.
    return conf / LOCAL if env in {None, LOCAL} else None


def _summary(scored: dict[str, dict[str, Any]]) -> list[str]:
    from roberta_squad_pipeline.evaluation.report.summary import summary
    from roberta_squad_pipeline.reader.evaluation import Evaluation

    evaluation = Evaluation.model_validate(scored[EVALUATION])
    return summary(
        evaluation.scores,
        scored[CROSSFIT],
        evaluation.calibration,
        evaluation.at_threshold or {},
        data=evaluation.data,
        tuned_elsewhere=evaluation.tuned_elsewhere,
    )


def _tell_of_scale(parameters: "Parameters") -> None:
    from roberta_squad_pipeline.runs.experiments import scaled_settings

    if parameters.experiment is None:
        return
    row = parameters.experiments.rows[parameters.experiment]
    scaled = scaled_settings(row, parameters.scale, parameters.training.model_dump())
    if scaled:
        _logger.info(
            "experiment %s to scale (globals.yml): %s", parameters.experiment, ", ".join(scaled)
        )
