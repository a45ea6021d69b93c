"""Protects finished runs from being replaced by runs with other settings or data."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import write_text
from roberta_squad_pipeline.common.same_run import differences
from roberta_squad_pipeline.common.strict import StrictModel
from roberta_squad_pipeline.runs.fingerprint import features_of, settings_of
from roberta_squad_pipeline.runs.plan import TRACKED, RunPlan
from roberta_squad_pipeline.runs.readers import other_readers
from roberta_squad_pipeline.runs.run_lock import Claim

_RECORD = "settings.json"

_RESULTS = ("model", "training", "inference", "reader", "ensemble", "distil")
"""Sections of parameters that results depend on, besides the features, if nodes read them."""


class MadeOf(StrictModel):
    """The settings and data of a run, kept in a file beside its scores."""

    feature_set: str
    features: dict[str, Any]
    """Data, windows and encoder; empty if the run used existing features."""
    sha256: dict[str, str]
    """SHA-256 of the data by split, once they are known."""
    results: dict[str, Any]
    """The parameters that its tracked nodes read, by section."""
    mlflow_run: str | None = None
    """MLflow's id of the run that its last session was recorded as."""
    trained_as: str | None = None
    """Fingerprint of the settings that this MLflow run trained with, if it did."""
    undone: tuple[str, ...] = ()
    """Nodes that a session of this MLflow run began, and none has finished since."""


def made_of(plan: RunPlan, *, with_features: bool) -> MadeOf:
    """Collects the settings of a run that is about to begin.

    Args:
        plan: The run; the readers that it names count with their weights.
        with_features: Whether its features are made with these parameters.
    """
    parameters, tracked = plan.parameters, plan.nodes.only_nodes_with_tags(TRACKED)
    settings = settings_of(parameters) | other_readers(parameters, plan.path("readers"))
    told = plan.redaction.record(settings)
    read = {name: told[name] for name in _RESULTS if f"params:{name}" in tracked.inputs()}
    return MadeOf(
        feature_set=parameters.feature_set,
        features=features_of(told) if with_features else {},
        sha256={},
        results=read,
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
    trains = "checkpoints" in plan.nodes.only_nodes_with_tags(TRACKED).inputs()
    with_features = claim.builds or trains
    mine = made_of(plan, with_features=with_features)
    kept, builds = not plan.parameters.overwrite, claim.builds
    shared = plan.parameters.feature_set != plan.parameters.run
    if (shared and kept) if builds else with_features:
        check_features(mine, plan.path("dev_features").parent, builds=builds)
    if kept:
        check_replacement(mine, plan.scores.parent, run=claim.run, builds=builds)
    return mine


def check_replacement(mine: MadeOf, folder: Path, *, run: str | None, builds: bool) -> None:
    """Refuses a run that would replace a finished one with other settings or data.

    Args:
        mine: The settings and data of the new run.
        folder: The folder with a folder of scores per run.
        run: The run's name if it writes outputs under it.
        builds: Whether it writes features or the record of their data.

    Raises:
        InputError: It would replace outputs of its name, or features of a finished run.
    """
    for file in sorted(folder.glob(f"*/{_RECORD}")):
        name, kept = file.parent.name, _read(file)
        if kept is None:
            continue
        where = f"run {name}"
        changes: list[str] = []
        if name == run:
            changes += _unlike(kept.results, mine.results)
        if builds and kept.features and kept.feature_set == mine.feature_set:
            if not changes:
                where = f"features of run {name}"
            changes += differences(kept.features, mine.features)
            changes += _unlike(kept.sha256, mine.sha256, "sha256.")
        if changes:
            # Both sections may name the same setting.
            said = "; ".join(dict.fromkeys(changes))
            raise InputError(
                where=where,
                got=f"other settings or data than the finished run's ({said})",
                expected="the same, since the finished run would be replaced",
                remedy="Give this one a different name: --params run=NAME (kedro evaluate: --as "
                "NAME). Or replace the finished one: --params overwrite=true",
            )


def keep_features(mine: MadeOf, folder: Path) -> None:
    """Records what the features in a folder are made with."""
    _write(mine.model_copy(update={"results": {}}), folder)


def check_features(mine: MadeOf, folder: Path, *, builds: bool) -> None:
    """Refuses features of other data or windows than the run's parameters say.

    Args:
        mine: The settings of the run.
        folder: The folder of its features.
        builds: Whether it would replace them; else it trains on them.

    Raises:
        InputError: They are of others; if there is no record of theirs, they may be.
    """
    if (kept := _read(folder / _RECORD)) is None:
        return
    # Encoders may share features; training checks that their tokenizers are the same.
    sections = mine.features if builds else ("data", "features", "distil")
    there, here = ({name: each.features.get(name) for name in sections} for each in (kept, mine))
    if said := "; ".join(differences(there, here)):
        raise InputError(
            where=f"features of {mine.feature_set}",
            got=f"other settings than this run's ({said})",
            expected="features that were made with the settings of the run",
            remedy="Give the same --params as for the features; or make others: kedro run without "
            "--nodes and --from-nodes, with another feature_set or overwrite=true.",
        )


def last_session(mine: MadeOf, scores: Path) -> MadeOf | None:
    """Returns the record of a run's last session, if that had the same settings.

    Args:
        mine: The settings of the run now.
        scores: The folder of its scores.
    """
    kept = _read(scores / _RECORD)
    if kept is None or kept.feature_set != mine.feature_set:
        return None
    changes = [
        *_unlike(kept.results, mine.results),
        *_unlike(kept.features, mine.features),
    ]
    return None if changes else kept


def keep_undone(nodes: set[str], scores: Path) -> None:
    """Records nodes that a session of a finished run begins, or has not finished."""
    if (kept := _read(scores / _RECORD)) is not None:
        _write(kept.model_copy(update={"undone": tuple(sorted(nodes))}), scores)


def of_files(mine: MadeOf, files: Mapping[str, Mapping[str, Any]]) -> MadeOf:
    """Adds the SHA-256 of the run's SQuAD files."""
    sha256 = {split: file["sha256"] for split, file in files.items()}
    return mine.model_copy(update={"sha256": sha256})


def keep(mine: MadeOf, scores: Path) -> None:
    """Records that a run is finished, with its settings and data.

    Args:
        mine: Settings and data; sections that it did not read are kept from before.
        scores: The folder of its scores.
    """
    before = _read(scores / _RECORD)
    if before is not None:
        results = before.results | mine.results
        features = mine.features or before.features
        sha256 = mine.sha256 or before.sha256
        mine = mine.model_copy(update={"results": results, "features": features, "sha256": sha256})
    ordered = {name: mine.results[name] for name in _RESULTS if name in mine.results}
    _write(mine.model_copy(update={"results": ordered}), scores)


def _write(record: MadeOf, folder: Path) -> None:
    write_text(folder / _RECORD, record.model_dump_json(indent=2) + "\n")


def _unlike(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The differences in those settings that both have."""
    common = there.keys() & here.keys()
    before, now = ({name: one[name] for name in common} for one in (there, here))
    return differences(before, now, prefix)


def _read(file: Path) -> MadeOf | None:
    try:
        return MadeOf.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
