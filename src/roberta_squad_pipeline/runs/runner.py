"""Kedro's sequential runner on machine 0; on the other machines only the shared nodes."""

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from kedro.io.core import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner
from pluggy import PluginManager

from roberta_squad_pipeline.distributed.config import DistributedConfig
from roberta_squad_pipeline.runs.made_with import MadeWith
from roberta_squad_pipeline.runs.parameters import check_parameters

_SHARED = ("train.train_reader", "inference.predict_answers", "predict.answer_file")
"""Nodes in which several machines work together."""


class MachineRunner(SequentialRunner):
    """Runs all nodes on machine 0; the others lend their processes, and read and write nothing.

    Each machine is given the same `kedro run`, except for `distributed.node_rank`.
    """

    def __str__(self) -> str:
        """Kedro-Viz keeps the status and duration of nodes only for a runner with this text."""
        return f"{type(self).__name__}, a kedro.runner.sequential_runner.SequentialRunner object"

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        hook_manager: PluginManager | None = None,
        run_id: str | None = None,
    ) -> None:
        parameters: dict[str, Any] = catalog.load("parameters")
        distributed = DistributedConfig.model_validate(parameters["distributed"])
        shared = [node.name for node in pipeline.nodes if node.name in _SHARED]
        if distributed.node_rank > 0:
            _help(shared, distributed, name=parameters["run"])
            return
        with ExitStack() as stack:
            # Not Kedro's two messages per finished node: the hooks log each node once.
            stack.callback(self._logger.setLevel, self._logger.level)
            self._logger.setLevel(logging.WARNING)
            if distributed.nodes > 1 and shared:
                from roberta_squad_pipeline.distributed.launch import meeting_point

                stack.enter_context(meeting_point(distributed))
            super()._run(pipeline, catalog, hook_manager, run_id)

    def _filter_pipeline_for_missing_outputs(
        self, pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> Pipeline:
        """Counts outputs of other settings as missing; Kedro only looks whether they exist."""
        parameters = check_parameters(catalog.load("parameters"))
        outdated = MadeWith(catalog, parameters).outdated(pipeline)
        self._log_filtering_results(len(pipeline.nodes), outdated, pipeline.nodes)
        return outdated

    def _suggest_resume_scenario(
        self,
        pipeline: Pipeline,
        done_nodes: Iterable[Node],
        catalog: CatalogProtocol[Any, Any],
    ) -> None:
        """Suggests nothing if no node has run: the error's own message is enough."""
        if done_nodes:
            super()._suggest_resume_scenario(pipeline, done_nodes, catalog)


def _help(shared: list[str], distributed: DistributedConfig, *, name: str) -> None:
    from roberta_squad_pipeline.inference.job import help_inference
    from roberta_squad_pipeline.training.job import help_training

    for node in shared:
        helper = help_training if node == "train.train_reader" else help_inference
        helper(distributed, name=name)
