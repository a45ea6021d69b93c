"""What is claimed and checked before a run's first node, so that runs do not interfere."""

from pathlib import Path

from kedro.framework.project import pipelines

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.same_run import digest, surroundings
from roberta_squad_pipeline.runs.finished import (
    MadeOf,
    check_features,
    check_replacement,
    made_of,
)
from roberta_squad_pipeline.runs.made_with import MadeWith
from roberta_squad_pipeline.runs.plan import READER, TRACKED, RunPlan
from roberta_squad_pipeline.runs.readers import member_names
from roberta_squad_pipeline.runs.run_lock import Claim


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


def check_sources(plan: RunPlan) -> None:
    """Refuses a reader whose sources are missing, or would be replaced by it.

    Raises:
        InputError: They are.
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


def check_other_runs_are_kept(plan: RunPlan) -> None:
    """Refuses to train, or to take the name of a run that did, where another run's reader answers.

    Raises:
        InputError: The run does.
    """
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


def check_finished_runs_are_kept(plan: RunPlan, claim: Claim) -> MadeOf:
    """Refuses to replace what a finished run with other settings or data has made.

    Args:
        plan: The run.
        claim: What it reads and writes.

    Returns:
        The settings of the run.

    Raises:
        InputError: It would be replaced, or the features are of other data.
    """
    tracked = plan.nodes.only_nodes_with_tags(TRACKED)
    with_features = claim.builds or "checkpoints" in tracked.inputs()
    mine = made_of(
        plan.parameters,
        tracked,
        plan.redaction,
        plan.path("readers"),
        with_features=with_features,
    )
    kept, builds = not plan.parameters.overwrite, claim.builds
    shared = plan.parameters.feature_set != plan.parameters.run
    if (shared and kept) if builds else with_features:
        check_features(mine, plan.path("dev_features").parent, builds=builds)
    if kept:
        check_replacement(mine, plan.scores.parent, run=claim.run, builds=builds)
    return mine
