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
from roberta_squad_pipeline.common.redaction import (
    Redaction,
    hide_in_logs,
    keep_secret,
    redaction,
)
from roberta_squad_pipeline.common.same_run import digest, surroundings, weights_of
from roberta_squad_pipeline.demo import ENCODER as DEMO_ENCODER
from roberta_squad_pipeline.demo import unpack_encoder
from roberta_squad_pipeline.runs.fingerprint import QUESTION_FILES, QUESTIONS, own_questions
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
"""Datasets with the scores that are printed at the end."""

SQUAD_FILES = "squad_files"
"""The dataset that records the data, once they are validated."""

RESOLVED = {"trained_with": "training", "answered_with": "inference"}
"""Datasets with resolved settings, and the section of the parameters that they belong to."""

_TRAINED_WITH = {"model", "training"}
"""Sections of the parameters that are used only in training."""

WEIGHTS_TAG, MEMBERS_TAG, _SURROUNDINGS_TAG = "reader.weights", "members", "surroundings"
"""Tags of a run: short names of the weights that it made, of an ensemble's members' weights by
their names, and of its code and libraries."""

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
        self._forget_run()

    def _forget_run(self) -> None:
        """Resets what belongs to one run, since the sessions of a process share these hooks."""
        self._nodes = Pipeline([])
        self._provenance: Provenance | None = None
        self._trained_as: str | None = None
        self._evaluated_model: str | None = None
        self._undone: set[str] | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Checks and keeps the parameters of this run."""
        from roberta_squad_pipeline.runs.parameters import load_parameters

        hide_in_logs()
        self._loader: Any = context.config_loader
        self._parameters: Parameters = load_parameters(self._loader)
        self._project = Path(context.project_path)
        self._redaction = redaction_of(Path(self._loader.conf_source), context.env)
        self._env = "" if context.env in {None, LOCAL} else f" --env {context.env}"

    @hook_impl
    def after_catalog_created(
        self,
        catalog: CatalogProtocol[Any, Any],
        conf_catalog: dict[str, Any],
        conf_creds: dict[str, Any],
    ) -> None:
        """Keeps the catalog's entries.

        Questions that the command names take precedence over entries of the catalog.
        """
        keep_secret(conf_creds)
        self._catalog = conf_catalog
        entries = own_questions(catalog)
        for split in (self._loader.runtime_params or {}).get("data", {}):
            if (name := QUESTIONS.get(split)) in entries:
                credentials = conf_creds.get(str(conf_catalog[name].get("credentials")))
                by_parameter = {"type": QUESTION_FILES, "credentials": credentials}
                catalog[name] = AbstractDataset.from_config(name, by_parameter)

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
        entries = own_questions(catalog)
        check_before_run(
            self._parameters,
            pipeline.inputs(),
            in_catalog={split for split, name in QUESTIONS.items() if name in entries},
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
        self._nodes = pipeline
        self._check_sources()
        self._check_other_runs_are_kept()
        claim = self._claim()
        self._check_finished_runs_are_kept(claim)
        self._held.enter_context(held(claim, self._project / self._parameters.locks))
        if claim.run is not None:
            self._run = self._reopened(run_params) or self._opened(run_params)

    def _opened(self, run_params: dict[str, Any]) -> "MlflowRun":
        """A new MLflow run, with the parameters and tags of this one."""
        import yaml

        if self._trains:
            _tell_of_scale(self._parameters)
        # Not all experiments: the settings of this one are in the other sections.
        others = {"experiments", "predict", "export", "tune"}
        if not self._combines:
            others.add("ensemble")
        parameters = self._parameters.model_dump(mode="json", exclude=others)
        recorded = parameters if self._trains else self._with_reader_settings(parameters)
        parent = self._parameters.tracking.parent_run
        run = self._new_run(
            self._parameters.run,
            {
                **({"mlflow.parentRunId": parent} if parent else {}),
                **self._subject_tags(),
                _SURROUNDINGS_TAG: digest(surroundings()),
                "seed": str(recorded.get("training", {}).get("seed")),
                "kedro.pipelines": ",".join(run_params["pipeline_names"] or ["__default__"]),
                "kedro.env": run_params["env"] or "base",
            },
        )
        if self._parameters.tracking.system_metrics:
            run.watch_machine()
        run.log_params(self._redaction.record(recorded))
        if not self._makes_reader:
            self._link_training_run(run)
        resolved = self._redaction.record({"parameters": parameters, "catalog": self._catalog})
        run.log_text(yaml.safe_dump(resolved, sort_keys=False), "configuration.yml")
        return run

    def _new_run(self, name: str, tags: dict[str, str]) -> "MlflowRun":
        from roberta_squad_pipeline.tracking.mlflow_run import open_run
        from roberta_squad_pipeline.tracking.provenance import provenance

        self._provenance = provenance(self._project, self._redaction)
        return open_run(
            project=self._project,
            experiment=self._parameters.tracking.experiment,
            name=name,
            provenance=self._provenance,
            tags=tags,
            unsent=self._project / self._parameters.tracking.unsent,
        )

    def _has(self, node: str) -> bool:
        return any(one.name == node for one in self._nodes.nodes)

    @property
    def _trains(self) -> bool:
        return self._has("train.train_reader")

    @property
    def _exports(self) -> bool:
        return self._has("export_reader")

    @property
    def _makes_reader(self) -> bool:
        return READER in self._nodes.all_outputs()

    @property
    def _combines(self) -> bool:
        return "params:ensemble" in self._nodes.inputs()

    @hook_impl
    def before_node_run(self, node: Node) -> dict[str, Any] | None:
        """Logs each node, and gives it the inputs that no dataset holds, such as the open run."""
        _logger.info("node %s", node.name)
        own: dict[str, Any] = {
            "tracker": self._run or Tracker(),
            "provenance": self._provenance,
            "redaction": self._redaction,
        }
        if "expected_settings" in node.inputs:
            from roberta_squad_pipeline.runs.parameters import parameters_by_experiment

            own["expected_settings"] = parameters_by_experiment(self._loader)
        return {name: own[name] for name in node.inputs if name in own}

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Records parameters that an earlier run has made, such as which data it used."""
        if self._role(dataset_name) == "params":
            self._record(dataset_name, data)

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Removes the record of what an earlier version of the dataset was made with.

        Raises:
            InputError: A finished run has features of other data, which would be replaced.
        """
        if dataset_name == "fetched_files" and not self._parameters.overwrite:
            from roberta_squad_pipeline.runs.finished import check_replacement, of_files

            made = of_files(self._made_of, data)
            check_replacement(made, self._scores().parent, run=None, builds=True)
        self._made_with.forget(dataset_name)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Records datasets as the catalog says, and the settings that they were made with."""
        self._made_with.keep(dataset_name, node)
        self._record(dataset_name, data)
        if dataset_name.endswith("_features"):
            from roberta_squad_pipeline.runs.finished import keep_features

            keep_features(self._made_of, self._path(dataset_name).parent)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Records that a node of a run that goes on is done."""
        if self._undone is not None:
            self._undone.discard(node.name)

    @hook_impl
    def after_pipeline_run(self, catalog: CatalogProtocol[Any, Any]) -> None:
        """Completes and closes the run, and prints scores and where to look at them."""
        from roberta_squad_pipeline.evaluation.report.summary import summary

        known = self._nodes.datasets()
        files = catalog.load(SQUAD_FILES) if SQUAD_FILES in known else {}
        evaluation = catalog.load(EVALUATION) if EVALUATION in known else {}
        said = summary(evaluation, catalog.load(CROSSFIT)) if evaluation else []
        if self._run is not None:
            self._complete(self._run, files, evaluation, catalog)
            if said:
                self._run.describe(said)
        pages = self._run.pages if self._run is not None else {}
        if self._exports:
            pages = self._log_export()
        self.end_run("FINISHED")
        self._tell_of_outdated()
        # Not logged, since a log breaks lines, and with them addresses that one can click on.
        for line in [*said, *self._where_to_go(pages, scored=bool(said))]:
            click.echo(line)

    def _complete(
        self,
        run: "MlflowRun",
        files: dict[str, dict[str, Any]],
        evaluation: dict[str, Any],
        catalog: CatalogProtocol[Any, Any],
    ) -> None:
        """Records what results depend on, and the reader as a model.

        The run's checkpoints are kept until now, in case a node after the training fails.
        """
        from roberta_squad_pipeline.evaluation.questions import surest_answer
        from roberta_squad_pipeline.runs.finished import keep, of_files

        made = self._nodes.all_outputs()
        if files:
            self._describe(run, files)
        # Where single nodes are run, the reader was logged before it had its threshold.
        if self._makes_reader or (self._trained_as is not None and EVALUATION in made):
            # Not sooner: the evaluation adds threshold and calibration to the reader's folder.
            reader = self._path(READER)
            run.set_tag(WEIGHTS_TAG, digest(weights_of(str(reader))))
            example = surest_answer(catalog.load(JUDGED)) if JUDGED in made else None
            run.log_model(reader, self._registration(files, evaluation), example)
        dataset = _scored_on(files)
        if self._evaluated_model is not None and EVALUATION in made and dataset is not None:
            run.score_model(self._evaluated_model, dataset)
        if self._makes_reader and not self._trains:
            run.set_tag(MEMBERS_TAG, json.dumps(self._members()))
        if self._trains:
            self._remove_checkpoints(run.run_id)
        recorded = {"mlflow_run": run.run_id, "trained_as": self._trained_as}
        keep(of_files(self._made_of.model_copy(update=recorded), files), self._scores())

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

    def _where_to_go(self, pages: dict[str, str], *, scored: bool) -> Iterator[str]:
        if REPORT in self._nodes.all_outputs():
            yield f"report: {self._path(REPORT).as_uri()}"
        yield from (f"{name}: {address}" for name, address in pages.items())
        reader = self._parameters.reader or self._parameters.run
        if self._makes_reader:
            yield f"next: kedro ask --run {reader}{self._env}"
        if self._exports:
            yield f"next: kedro ask --run {self._parameters.run}/onnx{self._env}"
        if self._makes_reader and scored:
            yield f"      kedro evaluate --run {reader} --data FILE --as NAME{self._env}"

    def _tell_of_outdated(self) -> None:
        """Warns of outputs that depend on what this part of the chain has replaced."""
        chain = pipelines["__default__"]
        replaced = {name for node in chain.nodes for name in node.inputs}
        replaced &= self._nodes.all_outputs()
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

    def _reopened(self, run_params: dict[str, Any]) -> "MlflowRun | None":
        """The MLflow run that single nodes continue: that of the last session with the same name.

        There is none if they train, or if settings, code or libraries have changed since.
        """
        from roberta_squad_pipeline.runs.finished import keep_undone, last_session
        from roberta_squad_pipeline.tracking.mlflow_run import reopen_run
        from roberta_squad_pipeline.tracking.provenance import provenance

        last = last_session(self._made_of, self._scores())
        if self._trains or not run_params["node_names"] or last is None or last.mlflow_run is None:
            return None
        run = reopen_run(
            project=self._project,
            experiment=self._parameters.tracking.experiment,
            tags={_SURROUNDINGS_TAG: digest(surroundings())},
            unsent=self._project / self._parameters.tracking.unsent,
            run_id=last.mlflow_run,
        )
        if run is not None:
            self._provenance = provenance(self._project, self._redaction)
            self._trained_as = last.trained_as
            self._undone = {*last.undone, *(node.name for node in self._nodes.nodes)}
            # Now, in case this process is killed.
            keep_undone(self._undone, self._scores())
        return run

    def _claim(self) -> Claim:
        tracked = any(TRACKED in node.tags for node in self._nodes.nodes)
        data = pipelines["__default__"].only_nodes_with_tags("data")
        feature_set = data.all_outputs()  # in folders named by it
        return Claim(
            run=self._parameters.run if tracked else None,
            feature_set=self._parameters.feature_set
            if feature_set & self._nodes.datasets()
            else None,
            builds=bool(feature_set & self._nodes.all_outputs()),
            built_from=digest(surroundings() | self._made_with.names(data)),
        )

    def _check_sources(self) -> None:
        """Refuses a reader whose sources are missing, or would be replaced by it."""
        model, distil = self._parameters.model, self._parameters.distil
        if self._combines:
            members = self._parameters.ensemble.members
            member_names(self._path("readers"), members, self._parameters.run)
        own = self._path(READER).resolve() if self._makes_reader else None
        for named, source in (("model.start", model.start), ("distil.teacher", distil.teacher)):
            if source is not None and Path(source).resolve() == own:
                raise InputError(
                    where=f"{named}={source}",
                    got="the folder that this run's own reader goes to",
                    expected="a reader that is not replaced",
                    remedy="Give the run a different name: --params run=NAME",
                )

    def _check_finished_runs_are_kept(self, claim: Claim) -> None:
        from roberta_squad_pipeline.runs.finished import (
            check_features,
            check_replacement,
            made_of,
        )

        tracked = self._nodes.only_nodes_with_tags(TRACKED)
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

    def _check_other_runs_are_kept(self) -> None:
        run, reader = self._parameters.run, self._parameters.reader
        if reader is None:
            return
        if self._makes_reader:
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
        if not self._has("evaluate.score_predictions") or self._trained_as != own:
            return
        described = description(self._parameters, files)
        run.log_params({name: described[name] for name in ("code", "libraries", "weights")})
        run.set_tag("fingerprint", own)
        run.set_tag("recipe", recipe(self._parameters, files))
        run.set_tag("data", files["dev"]["sha256"])

    def _registration(
        self, files: dict[str, dict[str, Any]], evaluation: dict[str, Any]
    ) -> "Registration":
        """The name and tags of the run's reader in the registry."""
        from roberta_squad_pipeline.tracking.models import Registration

        tags = {
            "run": self._parameters.run,
            "git": self._git_commit(),
        }
        dataset = _scored_on(files) if evaluation else None
        if dataset is not None:
            tags |= {"best_f1": f"{evaluation['scores']['best_f1']:.2f}", "data": dataset[1]}
        return Registration(
            name=self._parameters.tracking.registered_model, tags=tags, dataset=dataset
        )

    def _log_export(self) -> dict[str, str]:
        """Makes what a reader was exported to a run and a model of its own; returns the pages."""
        from roberta_squad_pipeline.tracking.models import Registration

        folder, reader = self._path("onnx_folder"), self._parameters.run
        run = self._new_run(f"{reader}/onnx", {"reader": reader, "kedro.pipelines": "export_onnx"})
        self._link_training_run(run)
        run.log_file(folder / "export.json")
        precision = json.loads((folder / "export.json").read_bytes())["precision"]
        registration = Registration(
            name=f"{self._parameters.tracking.registered_model}_onnx",
            tags={"run": reader, "git": self._git_commit(), "precision": precision},
            dataset=None,
        )
        run.log_model(folder, registration, None)
        run.end("FINISHED")
        return run.pages

    def _git_commit(self) -> str:
        return self._provenance.git_commit if self._provenance else "none"

    def _subject_tags(self) -> dict[str, str]:
        """The tag of the experiment; a run of other runs' readers does not belong to one."""
        run, reader = self._parameters.run, self._parameters.reader
        if reader is not None:
            return {"experiment": run, "reader": reader}
        own = self._loader.own_experiment or self._parameters.experiment or run
        return {"experiment": run if self._combines else own}

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
            # The same settings, seed and data under two names give the same weights.
            reader = self._parameters.reader or self._parameters.run
            own = next((one for one in trained if one.name == reader), trained[0])
            run.set_tag("training_run", own.run_id)
            self._evaluated_model = own.model_id

    def _members(self) -> dict[str, str]:
        """Short names of the weights of an ensemble's members."""
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
                self._run.log_datasets(hidden)
            return
        if role == "metrics":
            grouped = {f"{METRICS_GROUP}{name}": value for name, value in data.items()}
            self._run.log_scores(grouped)
        self._run.log_file(self._path(dataset_name))

    def _path(self, dataset_name: str) -> Path:
        return self._project / str(self._catalog[dataset_name]["filepath"])


def _scored_on(files: dict[str, dict[str, Any]]) -> tuple[str, str] | None:
    """Name and digest of the dev file; None if it is not known."""
    from roberta_squad_pipeline.tracking.models import digest_of

    dev = files.get("dev")
    return (Path(dev["path"]).name, digest_of(dev)) if dev else None


def redaction_of(conf: Path, env: str | None) -> Redaction:
    """Collects what must not be recorded of a run: what this machine's own settings say.

    Args:
        conf: The folder conf/.
        env: Kedro's environment.
    """
    # Kedro reads conf/local beside conf/base unless another environment is asked for.
    return redaction(conf / LOCAL if env in {None, LOCAL} else None)


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
