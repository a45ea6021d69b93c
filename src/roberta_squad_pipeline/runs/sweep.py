"""`kedro sweep`: many experiments from one command."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.nested import merged
from roberta_squad_pipeline.common.redaction import Redaction
from roberta_squad_pipeline.common.same_run import digest
from roberta_squad_pipeline.runs.fingerprint import description, features_of, settings_of
from roberta_squad_pipeline.runs.hooks import redaction_of
from roberta_squad_pipeline.runs.parameters import Parameters, project_parameters
from roberta_squad_pipeline.runs.pruning import Pruned
from roberta_squad_pipeline.runs.run_lock import Claim, held
from roberta_squad_pipeline.runs.session import run_pipeline
from roberta_squad_pipeline.tracking.provenance import provenance
from roberta_squad_pipeline.tracking.tracker import Journal

if TYPE_CHECKING:
    from roberta_squad_pipeline.tracking.mlflow_run import MlflowRun

FEATURE_SET = "sweep"
"""Name of the features that a sweep's runs share; those of other windows or data have their own."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a series."""

    name: str
    """Name of the run and of its output folders."""
    runtime_params: dict[str, Any]
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Series:
    """Many runs of one command, recorded under one parent run."""

    project: Path
    """The project's folder."""
    env: str | None
    """Kedro's environment."""
    params: dict[str, Any]
    """Parameters for all runs, as the command gives them."""
    parameters: Parameters
    """What conf/ makes of these."""
    prepared: set[str] = field(default_factory=set, kw_only=True)
    """Features that were built."""

    @classmethod
    def of(cls, project: Path, env: str | None, params: dict[str, Any]) -> Self:
        """Reads the parameters of a series.

        Raises:
            InputError: See `load_parameters`.
        """
        return cls(project, env, params, project_parameters(project, env, params))

    @property
    def journal(self) -> Journal:
        """Where its runs are recorded."""
        return self.parameters.tracking.journal(self.project)

    def planned_run(self, name: str, changes: dict[str, Any], feature_set: str) -> PlannedRun:
        """A run whose features are shared by all that read the same windows.

        Args:
            name: Of the run.
            changes: Parameters of its own, nested.
            feature_set: Name of the features of runs with the parameters of the series.

        Raises:
            InputError: The parameters do not go together.
        """
        own = merged(merged(self.params, changes), {"run": name, "feature_set": feature_set})
        parameters = project_parameters(self.project, self.env, own)
        features = _features_of(parameters)
        if features != _features_of(self.parameters):
            own["feature_set"] = f"{feature_set}_{digest(features)[:8]}"
            parameters = project_parameters(self.project, self.env, own)
        return PlannedRun(name, own, parameters)

    def claimed(self, name: str) -> AbstractContextManager[None]:
        """Keeps other processes in this folder from the same series while the block runs.

        Raises:
            InputError: One is carrying it out.
        """
        claim = Claim(run=name, feature_set=None, builds=False, built_from="")
        return held(claim, self.project / self.parameters.locks)

    def build_features(self, run: PlannedRun) -> None:
        """Downloads the data and builds the features of a run, if no earlier one has them."""
        feature_set = run.parameters.feature_set
        if feature_set not in self.prepared:
            params = merged(run.runtime_params, {"run": feature_set})
            run_pipeline(self.project, self.env, params, "download", "features")
            self.prepared.add(feature_set)

    def redaction(self) -> Redaction:
        """Removes what must not be recorded."""
        return redaction_of(self.project / "conf", self.env)

    @contextmanager
    def parent_run(self, name: str, tags: dict[str, str]) -> Iterator["MlflowRun"]:
        """Opens the parent of all runs; after an interruption, the same one again.

        Args:
            name: Name of the parent run.
            tags: Tags by which it is found again.

        Yields:
            The run, to be ended within the block; one that the block leaves with an exception ends
            as KILLED.
        """
        from roberta_squad_pipeline.tracking.mlflow_run import open_run, reopen_run

        parent = reopen_run(self.journal, tags) or open_run(
            self.journal,
            name,
            provenance(self.project, self.redaction()),
            tags | {"kedro.env": self.env or "base"},
        )
        try:
            yield parent
        except BaseException:
            parent.end("KILLED")
            raise

    def carry_out_one(self, run: PlannedRun, parent: str) -> bool:
        """Trains and scores one run, and logs the reason if it fails.

        Args:
            run: The run; its features are built.
            parent: MLflow's id of the parent run.

        Returns:
            Whether it succeeded.

        Raises:
            Pruned: It was ended early.
        """
        params = merged(run.runtime_params, {"tracking": {"parent_run": parent}})
        try:
            run_pipeline(self.project, self.env, params, from_nodes=["train.train_reader"])
        except InputError as error:
            _logger.error("%s failed: %s", run.name, error)  # noqa: TRY400 - the message is all
            return False
        except Pruned:
            raise
        except Exception:
            # A run that fails, for whatever reason, must not stop the others.
            _logger.exception("%s failed", run.name)
            return False
        return True


@dataclass(frozen=True, slots=True)
class Sweep(Series):
    """Runs of named experiments."""

    planned: tuple[PlannedRun, ...]


def _features_of(parameters: Parameters) -> dict[str, Any]:
    evaluates = parameters.training.evaluate_every is not None
    return features_of(settings_of(parameters)) | {"evaluates": evaluates}


def plan(
    project: Path,
    env: str | None,
    params: dict[str, Any],
    *,
    experiments: Sequence[str],
    seeds: int,
    shard: tuple[int, int],
) -> Sweep:
    """Plans the runs of a sweep, or of one share of it.

    Args:
        project: The project's folder.
        env: Kedro's environment.
        params: Parameters for all runs.
        experiments: Names; by default all that have reported metrics.
        seeds: Number of seeds per experiment: training.seed and the numbers after it.
        shard: Number of the share, from 1, and number of shares.
    """
    series = Series.of(project, env, params)
    rows, seed = series.parameters.experiments.rows, series.parameters.training.seed
    planned = []
    for name in experiments or [name for name, one in rows.items() if one.reported]:
        for number in range(seed, seed + seeds):
            own = {"experiment": name, "training": {"seed": number}}
            planned.append(series.planned_run(f"{name}_seed{number}", own, FEATURE_SET))
    index, count = shard
    return Sweep(project, env, params, series.parameters, tuple(planned[index - 1 :: count]))


def squad_files(project: Path, feature_set: str) -> dict[str, dict[str, Any]]:
    """Reads the record of the SQuAD files of some features; empty before these are built."""
    record = project / "data/01_raw" / feature_set / "squad_files.json"
    if not record.is_file():
        return {}
    files: dict[str, dict[str, Any]] = json.loads(record.read_text(encoding="utf-8"))
    return files


def fingerprints(sweep: Sweep) -> dict[str, str]:
    """The fingerprint of each planned run by its name, if its features are built."""
    return {
        run.name: digest(description(run.parameters, files))
        for run in sweep.planned
        if (files := squad_files(sweep.project, run.parameters.feature_set))
    }


def finished(sweep: Sweep) -> set[str]:
    """Names of the planned runs that are finished, with the same settings, code and data."""
    from roberta_squad_pipeline.tracking.store import finished_runs

    return {
        name
        for name, own in fingerprints(sweep).items()
        if finished_runs(sweep.journal, {"fingerprint": own})
    }


def claimed(sweep: Sweep) -> AbstractContextManager[None]:
    """Keeps other processes from carrying out the same sweep while the block runs.

    Raises:
        InputError: Another process is carrying it out.
    """
    planned = {run.name: description(run.parameters, {}) for run in sweep.planned}
    return sweep.claimed(f"sweep {digest(planned)}")


def carry_out(sweep: Sweep, *, say: Callable[[str], None]) -> list[str]:
    """Carries out the runs that are not finished yet, one after the other, under one parent run.

    Args:
        sweep: The planned runs, claimed.
        say: Prints which run begins, how long the rest will take, and finally the table.

    Returns:
        Names of the runs that failed.
    """
    for run in sweep.planned:
        sweep.build_features(run)
    done = finished(sweep)
    for run in sweep.planned:
        if run.name in done:
            say(f"{run.name}: finished before with the same settings, code and data; skipped")
    rest = [run for run in sweep.planned if run.name not in done]
    if not rest:
        _table(sweep, say)
        return []
    tags = {"sweep": digest(fingerprints(sweep)), "sweep.runs": str(len(sweep.planned))}
    failed: list[str] = []
    began = time.monotonic()
    with sweep.parent_run("sweep", tags) as parent:
        for number, run in enumerate(rest):
            left = (time.monotonic() - began) / number * (len(rest) - number) if number else None
            eta = f", about {left / 60:.0f} min left" if left is not None else ""
            say(f"run {number + 1} of {len(rest)}: {run.name}{eta}")
            if not sweep.carry_out_one(run, parent.run_id):
                failed.append(run.name)
        if done or len(failed) < len(rest):
            _log_table(_table(sweep, say), parent)
        parent.end("FAILED" if failed else "FINISHED")
    return failed


def _table(sweep: Sweep, say: Callable[[str], None]) -> Path:
    """Builds and prints the table from all finished runs on the sweep's data."""
    feature_set = sweep.planned[0].parameters.feature_set
    params = merged(sweep.params, {"run": feature_set})
    run_pipeline(sweep.project, sweep.env, params, "compare")
    table = sweep.project / "data/08_reporting" / feature_set / "experiments.md"
    say(table.read_text(encoding="utf-8"))
    say(f"table: {table.absolute().as_uri()}")
    return table


def _log_table(table: Path, parent: "MlflowRun") -> None:
    """Records the table and the score of each measured row with the parent run."""
    import pandas as pd

    csv = table.with_suffix(".csv")
    rows = pd.read_csv(csv)
    # A row with differences does not belong to an experiment.
    rows = rows[rows["mean"].notna() & rows["differs"].isna()]
    scores = dict(zip("best_f1/" + rows["name"], rows["mean"].tolist(), strict=True))
    parent.log_metrics(scores, step=0)
    parent.log_file(table)
    parent.log_file(csv)
