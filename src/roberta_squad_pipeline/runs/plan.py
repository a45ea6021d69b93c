"""What a run was asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.pipeline import Pipeline

from roberta_squad_pipeline.common.redaction import Redaction
from roberta_squad_pipeline.runs.parameters import Parameters
from roberta_squad_pipeline.tracking.tracker import Journal

READER = "reader"
"""The dataset of the trained reader."""

TRACKED = "tracked"
"""Tag of the nodes for which a run is opened in MLflow."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The nodes that a run was asked for, with its parameters and catalog."""

    project: Path
    parameters: Parameters
    catalog: Mapping[str, Any]
    """The entries of conf/ by dataset."""
    nodes: Pipeline
    redaction: Redaction
    """Removes what must not be recorded."""
    own_experiment: str | None
    """The experiment that conf/ itself gives the settings of, such as a study's winner."""

    @property
    def journal(self) -> Journal:
        """Where it is recorded."""
        return self.parameters.tracking.journal(self.project)

    @property
    def trains(self) -> bool:
        """Whether a reader is trained."""
        return self.has("train.train_reader")

    @property
    def exports(self) -> bool:
        """Whether a reader is exported to ONNX."""
        return self.has("export_reader")

    @property
    def makes_reader(self) -> bool:
        """Whether a reader is trained, or made of others."""
        return READER in self.nodes.all_outputs()

    @property
    def combines(self) -> bool:
        """Whether it is made of others."""
        return "params:ensemble" in self.nodes.inputs()

    def has(self, node: str) -> bool:
        """Whether the run has a node."""
        return any(one.name == node for one in self.nodes.nodes)

    def path(self, dataset: str) -> Path:
        """The file or folder of a dataset."""
        return self.project / str(self.catalog[dataset]["filepath"])

    @property
    def scores(self) -> Path:
        """The folder of the run's scores."""
        return self.path("metrics").parent
