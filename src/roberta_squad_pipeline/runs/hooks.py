"""Kedro's hooks: parameters are checked and files claimed first, runs are tracked in MLflow."""

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
"""Goes before the names of metrics in MLflow, so that the scorer's 13 figures stand together."""

REPORT = "report"
"""The dataset that one looks at in the end."""

EVALUATION, CROSSFIT = "evaluation", "metrics_crossfit"
SCORES = {EVALUATION, CROSSFIT}
"""Datasets with the scores that are said in the end."""

FETCHED = "fetched_files"
"""The dataset that says which data there are, fit or not."""

SQUAD_FILES = "squad_files"
"""The dataset that says which data a run is about."""

RESOLVED = {"trained_with": "training", "answered_with": "inference"}
"""Datasets with what settings came to, and the section of the parameters that these stand in."""

JUDGED = "questions"
"""The dataset of all dev questions and what came of them."""

READER = "reader"
"""The dataset of the trained reader."""

WEIGHTS_TAG = "reader.weights"
"""Tag of a run that trained: a short name of its reader's weights, by which others find it."""

_SURROUNDINGS_TAG = "surroundings"
"""Tag with a short name of a run's code and libraries."""

_TRAINED_WITH = {"model", "training"}
"""Sections of the parameters that only a run which trains goes by."""

TRACKER = "tracker"
"""Name of the input through which a node tells its metrics."""

PROVENANCE, REDACTION = "provenance", "redaction"
"""Names of the inputs through which a node learns which code is run, and what must not be told."""

EXPECTED = "expected_settings"
"""Name of the input through which a node learns with which settings each experiment is run."""

LOCAL = "local"
"""The environment that is this machine's own; nothing of it is recorded."""

_logger = logging.getLogger(__name__)

FEATURE_SET = {
    *(FETCHED, SQUAD_FILES, "validation"),
    *("train_features", "validation_features", "dev_features"),
}
"""Datasets that lie under the name of `feature_set`; those of tracked nodes lie under the run's."""


class TrackingHooks:
    """Opens one MLflow run for each Kedro run that has a tracked node.

    Before that it claims what the run reads and writes, so that no two get in each other's way.
    What of the catalog goes into it is said in the catalog, under `metadata: mlflow:`, as
    `metrics`, `params` or `artifact`.
    """

    def __init__(self) -> None:
        self._held = ExitStack()
        self._run: MlflowRun | None = None
        self._provenance: Provenance | None = None
        self._in_catalog: set[str] = set()
        self._forget_run()

    def _forget_run(self) -> None:
        """Sessions of one process share these hooks."""
        self._files: dict[str, dict[str, Any]] | None = None
        self._trains = self._trains_and_scores = False
        self._report: Path | None = None
        self._scored: dict[str, dict[str, Any]] = {}
        self._example: dict[str, str] | None = None
        self._saved: set[str] = set()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Rejects wrong parameters, and keeps those of this run."""
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
        """Keeps the catalog's entries, and what of them is not to be recorded.

        Questions that the command names count, whatever entry the catalog has for them.
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
        """Claims what the run reads and writes and opens it, before any work is done.

        Raises:
            InputError: Data or encoder are missing, another run that is going on has claimed what
                it writes, MLflow does not answer, the trained reader would replace the one that
                training goes on from, or a finished run of other settings would be replaced.
        """
        from roberta_squad_pipeline.runs.parameters import check_before_run

        self._forget_run()
        check_before_run(self._parameters, pipeline.inputs(), in_catalog=self._in_catalog)
        # Of several machines that share a run, the first alone writes and records it.
        if self._parameters.distributed.node_rank > 0:
            return
        if self._parameters.model.encoder == str(DEMO_ENCODER):
            unpack_encoder()
        self._made_with = MadeWith(catalog, self._parameters)
        if run_params["only_missing_outputs"]:
            pipeline = self._made_with.outdated(pipeline)
        self._check_start_is_kept(pipeline)
        self._check_other_runs_are_kept(pipeline)
        claim = _claim(self._parameters, pipeline, catalog)
        self._check_finished_runs_are_kept(pipeline, claim)
        self._held.enter_context(held(claim, self._project / self._parameters.locks))
        if claim.run is None:
            return
        names = {node.name for node in pipeline.nodes}
        self._trains = "train.train_reader" in names
        self._trains_and_scores = self._trains and "evaluate.score_predictions" in names
        if self._trains:
            _tell_of_scale(self._parameters)
        import yaml

        from roberta_squad_pipeline.tracking.mlflow_run import open_run
        from roberta_squad_pipeline.tracking.provenance import provenance

        # Of the experiments only the one that is run; its settings are among the others.
        others = {"experiments", "predict", "export", "tune"}
        parameters = self._parameters.model_dump(mode="json", exclude=others)
        self._provenance = provenance(self._project, self._redaction)
        same_code = {_SURROUNDINGS_TAG: digest(surroundings())}
        self._run = self._reopened(run_params, same_code)
        if self._run is not None:
            return
        recorded = parameters if self._trains else self._with_reader_settings(parameters)
        self._run = open_run(
            project=self._project,
            experiment=self._parameters.tracking.experiment,
            name=self._parameters.run,
            provenance=self._provenance,
            tags={
                **self._parent_tags(),
                **self._subject_tags(),
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
        if not self._trains:
            self._link_training_run(self._run)
        self._run.log_text(yaml.safe_dump(resolved, sort_keys=False), "configuration.yml")

    @hook_impl
    def before_node_run(self, node: Node) -> dict[str, Any] | None:
        """Tells of each node, and hands it what no dataset has: the open run, other settings."""
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
        """Records which data a run starts from when it was made by an earlier one."""
        if self._role(dataset_name) == "params":
            self._record(dataset_name, data)

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Forgets what an earlier file was made with.

        Raises:
            InputError: The data are others than a finished run's whose features would be replaced.
        """
        if dataset_name == FETCHED and not self._parameters.overwrite:
            from roberta_squad_pipeline.runs.finished import check_replacement, of_files

            made = of_files(self._made_of, data)
            check_replacement(made, self._scores().parent, run=None, builds=True)
        self._made_with.forget(dataset_name)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Records what the catalog marks, and notes with which settings it was made."""
        self._made_with.keep(dataset_name, node)
        self._saved.add(dataset_name)
        self._record(dataset_name, data)
        if dataset_name == REPORT:
            self._report = self._path(dataset_name)
        if dataset_name in SCORES:
            self._scored[dataset_name] = data
        if dataset_name == JUDGED:
            from roberta_squad_pipeline.evaluation.questions import surest_answer

            self._example = surest_answer(data)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Closes the run, and says what its results depend on if they are all its own.

        Its checkpoints are kept until now, for the case that a node after the training fails.
        """
        if self._run is not None and self._files is not None and self._trains_and_scores:
            self._describe(self._run, self._files)
        if self._run is not None and self._trains:
            from roberta_squad_pipeline.training.resume import remove_finished

            # Not sooner: an evaluation, if there is one, leaves threshold and calibration there.
            reader = self._path(READER)
            self._run.set_tag(WEIGHTS_TAG, digest(weights_of(str(reader))))
            self._run.log_model(reader, self._registration(), self._example)
            checkpoints = self._project / self._catalog["checkpoints"]["filepath"]
            remove_finished(checkpoints, self._run.run_id)
        if self._run is not None and self._scored.keys() == SCORES:
            self._run.describe(_summary(self._scored))
        if self._run is not None:
            from roberta_squad_pipeline.runs.finished import keep, of_files

            made = self._made_of.model_copy(update={"mlflow_run": self._run.run_id})
            keep(of_files(made, self._files or {}), self._scores())
        page = self._run.page if self._run is not None else None
        self.end_run("FINISHED")
        self._tell_of_outdated()
        # Not logged: a log breaks lines, and then nobody can click on an address.
        for line in self._result(page):
            click.echo(line)

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Closes the run of a pipeline that raised."""
        self.end_run("FAILED")

    def _result(self, page: str | None) -> Iterator[str]:
        if self._scored.keys() == SCORES:
            yield from _summary(self._scored)
        if self._report is not None:
            yield f"report: {self._report.as_uri()}"
        if page is not None:
            yield f"MLflow: {page}"
        reader = self._parameters.reader or self._parameters.run
        if self._trains:
            yield f"next: kedro ask --run {reader}{self._env}"
        if self._trains_and_scores:
            yield f"      kedro evaluate --run {reader} --data FILE --as NAME{self._env}"

    def _tell_of_outdated(self) -> None:
        """A part of the chain leaves outputs that follow from what it has replaced."""
        chain = pipelines["__default__"]
        replaced = {name for node in chain.nodes for name in node.inputs} & self._saved
        # With another run's reader, the chain's outputs are not this run's.
        if not replaced or self._parameters.reader is not None:
            return
        outdated = self._made_with.outdated(chain.from_inputs(*replaced))
        if older := self._made_with.existing(outdated.all_outputs()):
            _logger.warning(
                "not made anew, and no longer in keeping with what was: %s. The same --params with "
                "kedro run --only-missing-outputs make them anew.",
                ", ".join(older),
            )

    def end_run(self, status: "Status") -> None:
        """Closes the run, if one is open."""
        if self._run is not None:
            self._run.end(status)
            self._run = None

    def release(self) -> None:
        """Lets go of what was claimed, however the run ended."""
        self._held.close()

    def _reopened(self, run_params: dict[str, Any], tags: dict[str, str]) -> "MlflowRun | None":
        """The MLflow run that single nodes go on with: that of the last session of the same name.

        Where they train, or settings, code or libraries are others than then, there is none.
        """
        from roberta_squad_pipeline.runs.finished import recorded_as
        from roberta_squad_pipeline.tracking.mlflow_run import reopen_run

        run_id = recorded_as(self._made_of, self._scores())
        if self._trains or not run_params["node_names"] or run_id is None:
            return None
        return reopen_run(
            project=self._project,
            experiment=self._parameters.tracking.experiment,
            tags=tags,
            unsent=self._project / self._parameters.tracking.unsent,
            run_id=run_id,
        )

    def _check_start_is_kept(self, pipeline: Pipeline) -> None:
        start = self._parameters.model.start
        if start is None or READER not in pipeline.all_outputs():
            return
        if Path(start).resolve() == self._path(READER).resolve():
            raise InputError(
                where=f"model.start={start}",
                got="the folder that this run's own reader goes to",
                expected="a reader that is still there afterwards",
                remedy="Give the run a name of its own: --params run=NAME",
            )

    def _check_finished_runs_are_kept(self, pipeline: Pipeline, claim: Claim) -> None:
        from roberta_squad_pipeline.runs.finished import check_replacement, made_of

        tracked = pipeline.only_nodes_with_tags(TRACKED)
        with_features = claim.builds or "checkpoints" in tracked.inputs()
        self._made_of = made_of(
            self._parameters, tracked, self._redaction, with_features=with_features
        )
        if not self._parameters.overwrite:
            folder, builds = self._scores().parent, claim.builds
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
        """Says what the run's results depend on, which its parameters do not say in full."""
        from roberta_squad_pipeline.runs.fingerprint import description, fingerprint, recipe

        described = description(self._parameters, files)
        run.log_params({name: described[name] for name in ("code", "libraries", "weights")})
        run.set_tag("fingerprint", fingerprint(self._parameters, files))
        run.set_tag("recipe", recipe(self._parameters, files))
        run.set_tag("data", files["dev"]["sha256"])

    def _registration(self) -> "Registration":
        """What the registry says of the run's reader."""
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

    def _parent_tags(self) -> dict[str, str]:
        parent = self._parameters.tracking.parent_run
        return {"mlflow.parentRunId": parent} if parent else {}

    def _subject_tags(self) -> dict[str, str]:
        """What the run is of; one that scores another's reader is no run of the experiment."""
        run, reader = self._parameters.run, self._parameters.reader
        if reader is not None:
            return {"experiment": run, "reader": reader}
        return {"experiment": self._parameters.experiment or run}

    def _with_reader_settings(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters with those that the reader was trained with, as far as it says them."""
        header = self._path(READER) / "reader.json"
        recipe = json.loads(header.read_bytes())["recipe"] if header.is_file() else {}
        others = {name: parameters[name] for name in parameters.keys() - _TRAINED_WITH}
        return others | {name: recipe[name] for name in recipe.keys() & _TRAINED_WITH}

    def _link_training_run(self, run: "MlflowRun") -> None:
        """Says which run trained the reader, found by the sha256 of its weights."""
        from roberta_squad_pipeline.tracking.history import finished_runs

        weights = digest(weights_of(str(self._path(READER))))
        trained = finished_runs(
            self._project, self._parameters.tracking.experiment, {WEIGHTS_TAG: weights}
        )
        if trained:
            run.set_tag("training_run", trained[0].run_id)

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
    """The folder of this machine's own settings, if a run of that environment reads it."""
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


def _claim(
    parameters: "Parameters", pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
) -> Claim:
    from roberta_squad_pipeline.runs.fingerprint import feature_fingerprint, own_questions

    tracked = any(TRACKED in node.tags for node in pipeline.nodes)
    return Claim(
        run=parameters.run if tracked else None,
        feature_set=parameters.feature_set if FEATURE_SET & pipeline.datasets() else None,
        builds=bool(FEATURE_SET & pipeline.all_outputs()),
        built_from=feature_fingerprint(parameters, own_questions(catalog)),
    )
