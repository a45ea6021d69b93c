"""What a run was asked to do, and what is claimed and checked before its first node."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.redaction import Redaction
from roberta_squad_pipeline.common.same_run import digest, surroundings
from roberta_squad_pipeline.runs.made_with import MadeWith
from roberta_squad_pipeline.runs.parameters import Parameters
from roberta_squad_pipeline.runs.readers import member_names
from roberta_squad_pipeline.runs.run_lock import Claim
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


def claim_of(plan: RunPlan, made_with: MadeWith) -> Claim:
    """What a run reads and writes.

    Args:
        plan: The run.
        made_with: The records of what outputs were made with.
    """
    tracked = any(TRACKED in node.tags for node in plan.nodes.nodes)
    data = pipelines["__default__"].only_nodes_with_tags("data")
    feature_set = data.all_outputs()  # in folders named by it
    return Claim(
        run=plan.parameters.run if tracked else None,
        feature_set=plan.parameters.feature_set if feature_set & plan.nodes.datasets() else None,
        builds=bool(feature_set & plan.nodes.all_outputs()),
        built_from=digest(surroundings() | made_with.names(data)),
    )


def check_readers(plan: RunPlan) -> None:
    """Refuses a run if a reader that it names is missing, or would be replaced.

    Raises:
        InputError: Members are missing; the reader would replace its own source; or, where another
            run's reader answers, the run trains, or takes the name of one that did.
    """
    model, distil = plan.parameters.model, plan.parameters.distil
    if plan.combines:
        members = plan.parameters.ensemble.members
        member_names(plan.path("readers"), members, plan.parameters.run)
    own = plan.path(READER).resolve() if plan.makes_reader else None
    for named, source in (("model.start", model.start), ("distil.teacher", distil.teacher)):
        if source is not None and Path(source).resolve() == own:
            raise InputError(
                where=f"{named}={source}",
                got="the folder that this run's own reader goes to",
                expected="a reader that is not replaced",
                remedy="Give the run a different name: --params run=NAME",
            )
    run, reader = plan.parameters.run, plan.parameters.reader
    if reader is None:
        return
    if plan.makes_reader:
        raise InputError(
            where=f"reader={reader}",
            got="a pipeline that trains a reader of its own",
            expected="one that answers with the reader of another run",
            remedy=f"kedro evaluate --run {reader} --data FILE --as NAME; model.start is what "
            "training goes on from.",
        )
    if plan.path(READER).with_name(run).exists():
        raise InputError(
            where=f"run={run}",
            got="the name of a run that has a reader itself, whose scores would be replaced",
            expected=f"another name for the scores of {reader}",
            remedy="Give one: --params run=NAME, or kedro evaluate … --as NAME",
        )
