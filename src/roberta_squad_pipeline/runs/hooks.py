"""Kedro's hooks: check parameters and claim files before a run, and track it in MLflow."""

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

from roberta_squad_pipeline.common.redaction import (
    Redaction,
    hide_in_logs,
    keep_secret,
    redaction,
)
from roberta_squad_pipeline.demo import ENCODER as DEMO_ENCODER
from roberta_squad_pipeline.demo import unpack_encoder
from roberta_squad_pipeline.runs.finished import (
    check_finished_runs_are_kept,
    check_replacement,
    keep_features,
    of_files,
)
from roberta_squad_pipeline.runs.made_with import QUESTION_FILES, QUESTIONS, MadeWith, own_questions
from roberta_squad_pipeline.runs.parameters import (
    check_before_run,
    load_parameters,
    parameters_by_experiment,
)
from roberta_squad_pipeline.runs.plan import RunPlan, check_readers, claim_of
from roberta_squad_pipeline.runs.pruning import Pruned
from roberta_squad_pipeline.runs.recording import EVALUATION, SQUAD_FILES, Recording
from roberta_squad_pipeline.runs.run_lock import held
from roberta_squad_pipeline.tracking.tracker import Tracker

if TYPE_CHECKING:
    from roberta_squad_pipeline.tracking.spool import Status

LOCAL = "local"
"""The environment with this machine's own settings, of which nothing is recorded."""

_logger = logging.getLogger(__name__)


class TrackingHooks:
    """Opens an MLflow run for each Kedro run that has a tracked node.

    Before that, they claim what the run reads and writes, so that runs do not interfere.
    """

    def __init__(self) -> None:
        self._held = ExitStack()
        self._recording: Recording | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Checks and keeps the parameters of this run."""
        hide_in_logs()
        self._loader: Any = context.config_loader
        self._parameters = load_parameters(self._loader)
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
        # The sessions of a process share these hooks.
        self._recording = None
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
        self._plan = plan = RunPlan(
            self._project,
            self._parameters,
            self._catalog,
            pipeline,
            self._redaction,
            self._loader.own_experiment,
        )
        check_readers(plan)
        claim = claim_of(plan, self._made_with)
        self._made_of = check_finished_runs_are_kept(plan, claim)
        self._held.enter_context(held(claim, self._project / self._parameters.locks))
        self._recording = Recording(plan, self._made_of)
        if claim.run is not None:
            self._recording.begin(run_params)

    @hook_impl
    def before_node_run(self, node: Node) -> dict[str, Any] | None:
        """Logs each node, and gives it the inputs that no dataset holds, such as the open run."""
        _logger.info("node %s", node.name)
        recording = self._recording
        own: dict[str, Any] = {
            "tracker": (recording and recording.run) or Tracker(),
            "redaction": self._redaction,
        }
        if "provenance" in node.inputs:
            own["provenance"] = recording and recording.provenance
        if "expected_settings" in node.inputs:
            own["expected_settings"] = parameters_by_experiment(self._loader)
        return {name: own[name] for name in node.inputs if name in own}

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Records parameters that an earlier run has made, such as which data it used."""
        recording = self._recording
        if recording is not None and recording.role(dataset_name) == "params":
            recording.record(dataset_name, data)

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Removes the record of what an earlier version of the dataset was made with.

        Raises:
            InputError: A finished run has features of other data, which would be replaced.
        """
        if dataset_name == "fetched_files" and not self._parameters.overwrite:
            made = of_files(self._made_of, data)
            check_replacement(made, self._plan.scores.parent, run=None, builds=True)
        self._made_with.forget(dataset_name)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Records datasets as the catalog says, and the settings that they were made with."""
        self._made_with.keep(dataset_name, node)
        if self._recording is not None:
            self._recording.record(dataset_name, data)
        if dataset_name.endswith("_features"):
            keep_features(self._made_of, self._plan.path(dataset_name).parent)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Records that a node of a run that goes on is done."""
        if self._recording is not None:
            self._recording.done(node.name)

    @hook_impl
    def after_pipeline_run(self, catalog: CatalogProtocol[Any, Any]) -> None:
        """Completes and closes the run, and prints scores and where to look at them."""
        if self._recording is None:  # not the first of several machines
            return
        from roberta_squad_pipeline.evaluation.report.summary import summary

        known = self._plan.nodes.datasets()
        files = catalog.load(SQUAD_FILES) if SQUAD_FILES in known else {}
        evaluation = catalog.load(EVALUATION) if EVALUATION in known else {}
        said = summary(evaluation, catalog.load("metrics_crossfit")) if evaluation else []
        pages = self._recording.complete(files, evaluation, said, catalog)
        self.end_run("FINISHED")
        self._tell_of_outdated()
        # Not logged, since a log breaks lines, and with them addresses that one can click on.
        for line in [*said, *self._where_to_go(pages, scored=bool(said))]:
            click.echo(line)

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Closes the run of a pipeline that failed, or was pruned by a search."""
        if self._recording is not None and isinstance(error, Pruned):
            self._recording.prune(str(error))
        self.end_run("FAILED")

    def end_run(self, status: "Status") -> None:
        """Closes the run in MLflow, if one is open."""
        if self._recording is not None:
            self._recording.end(status)

    def release(self) -> None:
        """Releases what was claimed, however the run ended."""
        self._held.close()

    def _where_to_go(self, pages: dict[str, str], *, scored: bool) -> Iterator[str]:
        for name, dataset in (("report", "report"), ("table", "experiments_markdown")):
            if dataset in self._plan.nodes.all_outputs():
                yield f"{name}: {self._plan.path(dataset).as_uri()}"
        yield from (f"{name}: {address}" for name, address in pages.items())
        reader = self._parameters.reader or self._parameters.run
        if self._plan.makes_reader:
            yield f"next: kedro ask --run {reader}{self._env}"
        if self._plan.exports:
            yield f"next: kedro ask --run {self._parameters.run}/onnx{self._env}"
        if self._plan.makes_reader and scored:
            yield f"      kedro evaluate --run {reader} --data FILE --as NAME{self._env}"

    def _tell_of_outdated(self) -> None:
        """Warns of outputs that depend on what this part of the chain has replaced."""
        chain = pipelines["__default__"]
        replaced = {name for node in chain.nodes for name in node.inputs}
        replaced &= self._plan.nodes.all_outputs()
        # With the reader of another run, or of several, the other outputs of the chain are not this
        # run's.
        combined = self._plan.makes_reader and not self._plan.trains
        if not replaced or self._parameters.reader is not None or combined:
            return
        outdated = self._made_with.outdated(chain.from_inputs(*replaced))
        if older := self._made_with.existing(outdated.all_outputs()):
            _logger.warning(
                "not updated, and no longer consistent with what was: %s. To update them, give the "
                "same --params to kedro run --only-missing-outputs.",
                ", ".join(older),
            )


def redaction_of(conf: Path, env: str | None) -> Redaction:
    """Collects what must not be recorded of a run: what this machine's own settings say.

    Args:
        conf: The folder conf/.
        env: Kedro's environment.
    """
    # Kedro reads conf/local beside conf/base unless another environment is asked for.
    return redaction(conf / LOCAL if env in {None, LOCAL} else None)
