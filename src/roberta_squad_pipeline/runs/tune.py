"""`kedro tune`: a search for better settings, whose trials are runs as a sweep makes them."""

import json
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, cast

import optuna
import yaml
from optuna import Study, Trial, visualization
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from roberta_squad_pipeline.common import tables
from roberta_squad_pipeline.common.errors import InputError, TrainingError
from roberta_squad_pipeline.common.files import write_text
from roberta_squad_pipeline.common.nested import merged
from roberta_squad_pipeline.common.same_run import differences, digest
from roberta_squad_pipeline.evaluation.report.figures import TEMPLATE
from roberta_squad_pipeline.evaluation.report.page import page_with_figures
from roberta_squad_pipeline.runs.experiments import OWN, with_own_experiment
from roberta_squad_pipeline.runs.fingerprint import description
from roberta_squad_pipeline.runs.parameters import TuneConfig
from roberta_squad_pipeline.runs.pruning import Judge, Pruned, judged_by
from roberta_squad_pipeline.runs.search_space import Value, nested, searched, suggested, within
from roberta_squad_pipeline.runs.sweep import Series, squad_files

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from roberta_squad_pipeline.tracking.mlflow_run import MlflowRun

_SCORES = {"best_f1": "cross-fitted best F1", "answerable_f1": "F1 of answerable questions"}
"""Names of the objectives in tables and figures."""

_RUN, _FAILED, _PLACE = "run", "failed", "place"
"""Attributes of a trial: its run's name, whether it failed, and the machine and folder in which it
was run."""
_MADE_OF = "made_of"
"""Attribute of a study: what all its trials have in common."""

_MOST_AT_RANDOM = 10
"""At most this many trials are drawn at random before a model guides the search, as in Optuna."""

_SAYS_WHERE_WITHIN = timedelta(minutes=1)
"""A trial without a place that is older was interrupted before it could say where it is."""

_FIRST_PERCENT = 25
"""A trial is not pruned within this share of its updates: a long warm-up is behind at first."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tuning(Series):
    """A study, and where its trials are carried out."""

    @property
    def config(self) -> TuneConfig:
        """What is searched, and for how long."""
        return self.parameters.tune

    @property
    def folder(self) -> Path:
        """Where the table goes."""
        return self.project / "data/08_reporting" / self.config.study

    @property
    def place(self) -> str:
        """This machine and folder."""
        return f"{socket.gethostname()}:{self.project}"


def carry_out(tuning: Tuning, *, say: Callable[[str], None]) -> str | None:
    """Runs the trials that the study lacks, runs the best with more seeds, and names the winner.

    Args:
        tuning: The study, claimed.
        say: Prints what begins, and the table at the end.

    Returns:
        The experiment that the winner was written as; None where other machines have trials that
        are not finished.

    Raises:
        InputError: The study has other settings or data, its storage does not answer, or the
            objective is not measured on these questions.
        TrainingError: No trial has a score.
    """
    name = tuning.config.study
    tuning.build_features(tuning.planned_run(name, {}, name))
    study = _open_study(tuning, _made_of(tuning))
    _take_up(study, tuning.place)
    tags = {"study": name, "study.made_of": digest(study.user_attrs[_MADE_OF])}
    with tuning.parent_run(name, tags) as parent:
        _search(tuning, study, parent.run_id, say)
        elsewhere = [trial.user_attrs.get(_PLACE, "elsewhere") for trial in running(study)]
        if elsewhere:
            say(
                f"trials are still running elsewhere ({', '.join(elsewhere)}): the command that "
                "finishes last concludes the study"
            )
        winner = None if elsewhere else _conclude(tuning, study, parent, say)
        parent.end("FINISHED" if winner or elsewhere else "FAILED")
    if winner is None and not elsewhere:
        raise TrainingError(f"no trial of {name} has a score; the log says why")
    return winner


def _made_of(tuning: Tuning) -> dict[str, Any]:
    """What scores depend on beside what is searched."""
    config = tuning.config
    files = squad_files(tuning.project, config.study)
    sought = config.model_dump(mode="json", include={"objective", "space"}, exclude_none=True)
    described = tuning.redaction().record(description(tuning.parameters, files))
    return described | {"tune": sought}


def _open_study(tuning: Tuning, made_of: dict[str, Any]) -> Study:
    config = tuning.config
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            storage=config.storage,
            study_name=config.study,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=_trials_at_random(config), n_warmup_steps=_FIRST_PERCENT
            ),
        )
    except (optuna.exceptions.OptunaError, SQLAlchemyError, ImportError, ValueError) as error:
        raise InputError(
            where="tune.storage",
            got=f"{config.storage}, which does not answer ({type(error).__name__})",
            expected="SQLAlchemy's URL of a database that can be written",
            remedy="Correct it, start the database, or install its driver.",
        ) from error
    before = study.user_attrs.get(_MADE_OF)
    if before is None:
        study.set_user_attr(_MADE_OF, made_of)
        own = within(config.space, tuning.parameters.model_dump(mode="json"))
        # All that is found is compared with the settings of conf/.
        study.enqueue_trial(own)
    elif changes := list(differences(before, made_of)):
        raise InputError(
            where=f"study {config.study}",
            got=f"other settings, data or code than its trials' ({'; '.join(changes)})",
            expected="the same, since scores would not compare",
            remedy="Begin another study: --params tune.study=NAME",
        )
    return study


def _take_up(study: Study, place: str) -> None:
    """Repeats trials that were interrupted here, with the checkpoints of their runs."""
    for trial in running(study):
        if _is_of(place, trial):
            study.tell(trial.number, state=TrialState.FAIL)
            name = trial.user_attrs.get(_RUN, _name(study, trial))
            study.enqueue_trial(trial.params, user_attrs={_RUN: name})


def _is_of(place: str, trial: FrozenTrial) -> bool:
    """Whether a trial was begun in a place, or was interrupted before it could say where it is."""
    if _PLACE in trial.user_attrs:
        return bool(trial.user_attrs[_PLACE] == place)
    # Between beginning a trial and saying where it is lie milliseconds, elsewhere too.
    began = trial.datetime_start
    return began is None or datetime.now() - began > _SAYS_WHERE_WITHIN


def running(study: Study) -> list[FrozenTrial]:
    """Trials that are not finished, here or elsewhere."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def scored(study: Study) -> list[FrozenTrial]:
    """Trials with a score, the best first; a pruned one's value is what it had reached by then."""
    found = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(found, key=lambda trial: -_score(trial))


def finished(study: Study) -> list[FrozenTrial]:
    """Trials that count: those with a score, the best first, then pruned ones, then failed ones."""
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return [
        *scored(study),
        *pruned,
        *(trial for trial in failed if _FAILED in trial.user_attrs),
    ]


def before(study: Study, number: int) -> list[FrozenTrial]:
    """Earlier trials that count or will count; every machine finds the same ones."""
    begun = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
    return [trial for trial in [*finished(study), *begun] if trial.number < number]


def _score(trial: FrozenTrial) -> float:
    return cast("float", trial.value)


def _name(study: Study, trial: Trial | FrozenTrial) -> str:
    return f"{study.study_name}_trial{trial.number}"


def _search(tuning: Tuning, study: Study, parent: str, say: Callable[[str], None]) -> None:
    """Runs trials until there are enough of them, or the time is over."""
    config, began = tuning.config, time.monotonic()
    while (begun := len(finished(study)) + len(running(study))) < config.trials:
        minutes = (time.monotonic() - began) / 60
        if config.timeout_minutes is not None and minutes >= config.timeout_minutes:
            say(f"{begun} of {config.trials} trials after {minutes:.0f} min, which is the limit")
            return
        trial, values = ask(tuning, study)
        if len(before(study, trial.number)) >= config.trials:
            # Another machine has begun the last one at the same moment.
            study.tell(trial, state=TrialState.FAIL)
            continue
        said = ", ".join(f"{name} {_shown(value)}" for name, value in values.items())
        name = trial.user_attrs[_RUN]
        say(f"trial {begun + 1} of {config.trials}: {name} ({said})")
        if (score := known_score(study, values)) is None:
            try:
                score = _run(tuning, name, nested(values), parent, judge_of(tuning, trial))
            except Pruned as pruned:
                study.tell(trial, state=TrialState.PRUNED)
                say(f"{name}: pruned {pruned}")
                continue
        if score is None:
            trial.set_user_attr(_FAILED, True)
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, score)
            say(f"{name}: {_SCORES[config.objective]} {score:.2f}")


def ask(tuning: Tuning, study: Study) -> tuple[Trial, dict[str, Value]]:
    """Begins a trial.

    Returns:
        It, and its settings by dotted name.
    """
    config = tuning.config
    trial = study.ask()
    # A seed for each, so that neither a restart nor another machine draws the same again.
    study.sampler = TPESampler(
        seed=tuning.parameters.training.seed + trial.number,
        n_startup_trials=_trials_at_random(config),
    )
    trial.set_user_attr(_PLACE, tuning.place)
    if _RUN not in trial.user_attrs:
        trial.set_user_attr(_RUN, _name(study, trial))
    return trial, suggested(config.space, trial)


def _trials_at_random(config: TuneConfig) -> int:
    return min(_MOST_AT_RANDOM, -(-config.trials // 3))


def judge_of(tuning: Tuning, trial: Trial) -> Judge | None:
    """Ends a trial's run if it falls behind the median of the others; None: nothing does."""
    from roberta_squad_pipeline.distributed.launch import local_processes

    distributed = tuning.parameters.distributed
    # Stopping workers would lose their results.
    if not tuning.config.prune or distributed.nodes * local_processes(distributed) > 1:
        return None

    def judge(criterion: float, share: float) -> None:
        # By the share of the training: trials may have different numbers of updates.
        trial.report(criterion, step=round(100 * share))
        if share < 1 and trial.should_prune():
            raise Pruned(f"after {share:.0%} of its updates")

    return judge


def known_score(study: Study, values: dict[str, Value]) -> float | None:
    """What a finished trial of the same settings scored."""
    return next((trial.value for trial in scored(study) if trial.params == values), None)


def _run(
    tuning: Tuning, name: str, changes: dict[str, Any], parent: str, judge: Judge | None = None
) -> float | None:
    """Trains and scores with some settings; None where that failed, which is logged.

    Raises:
        Pruned: The judge has ended it.
    """
    try:
        run = tuning.planned_run(name, changes, tuning.config.study)
        tuning.build_features(run)
    except InputError as error:
        _logger.error("%s failed: %s", name, error)  # noqa: TRY400 - the message is all
        return None
    with judged_by(judge):
        succeeded = tuning.carry_out_one(run, parent)
    return _measured(tuning, name) if succeeded else None


def _measured(tuning: Tuning, run: str) -> float:
    """The objective, in per cent."""
    scores = tuning.project / "data/08_reporting" / run
    if tuning.config.objective == "best_f1":
        found = json.loads((scores / "metrics_crossfit.json").read_bytes()).get("f1")
    else:
        import pandas as pd

        questions = pd.read_parquet(scores / "questions.parquet", columns=["answerable", "f1"])
        answerable = questions["f1"][questions["answerable"]]
        found = 100 * answerable.mean() if len(answerable) else None
    if found is None:
        raise InputError(
            where=f"tune.objective={tuning.config.objective}",
            got=f"no such score of {run}",
            expected="passages enough to cross-fit, or answerable questions",
            remedy="Give another objective, or other dev questions.",
        )
    return float(found)


def _conclude(
    tuning: Tuning, study: Study, parent: "MlflowRun", say: Callable[[str], None]
) -> str | None:
    """Runs the finalists, writes table and winner, and keeps both with the parent run."""
    scores = {
        trial.number: _scores_by_seed(tuning, study, trial, parent.run_id, say)
        for trial in distinct(scored(study))[: tuning.config.finalists]
    }
    ranked = ranking(finished(study), scores)
    head, rows = _table(tuning, ranked, scores)
    table = tables.table(head, rows) + "\n"
    say(table)
    for file, text in {
        "trials.md": table,
        "trials.html": page_with_figures(
            "study.html",
            figures_of(study, _SCORES[tuning.config.objective]),
            title=f"{tuning.config.study}: trials",
            signature=f"{len(rows)} trials, finalists first.",
            head=head,
            rows=rows,
        ),
    }.items():
        write_text(tuning.folder / file, text)
        parent.log_file(tuning.folder / file)
    say(f"page: {(tuning.folder / 'trials.html').as_uri()}")
    objective = tuning.config.objective
    found = {trial.user_attrs[_RUN]: _score(trial) for trial in scored(study)}
    parent.log_metrics({f"{objective}/{run}": value for run, value in found.items()}, step=0)
    if not scores:
        return None
    best = ranked[0]
    winner = f"{tuning.config.study}_best"
    parameters = winning_parameters(tuning, best.params)
    path = tuning.project / OWN / f"{winner}.yml"
    write_text(path, yaml.safe_dump(parameters, sort_keys=False))
    hidden = tuning.redaction().record(parameters)
    parent.log_text(yaml.safe_dump(hidden, sort_keys=False), f"{winner}.yml")
    parent.log_metrics({objective: mean(scores[best.number])}, step=0)
    parent.describe(
        [
            f"{best.user_attrs[_RUN]}: {_SCORES[objective]} {mean(scores[best.number]):.2f}, mean "
            f"of {len(scores[best.number])} seeds",
            ", ".join(f"{name} {_shown(value)}" for name, value in best.params.items()),
        ]
    )
    return winner


def distinct(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The first of the trials that have the same settings."""
    found: list[FrozenTrial] = []
    for trial in trials:
        if all(trial.params != other.params for other in found):
            found.append(trial)
    return found


def _scores_by_seed(
    tuning: Tuning,
    study: Study,
    trial: FrozenTrial,
    parent: str,
    say: Callable[[str], None],
) -> list[float]:
    """A finalist's scores, its trial's first; it ends with the first seed that fails."""
    first = tuning.parameters.training.seed
    scores = [_score(trial)]
    for seed in range(first + 1, first + tuning.config.seeds):
        name = f"{trial.user_attrs[_RUN]}_seed{seed}"
        score = study.user_attrs.get(name)
        if score is None:
            say(f"finalist: {name}")
            changes = merged(nested(trial.params), {"training": {"seed": seed}})
            score = _run(tuning, name, changes, parent)
            if score is None:
                break
            study.set_user_attr(name, score)
        scores.append(score)
    return scores


def ranking(trials: list[FrozenTrial], scores: dict[int, list[float]]) -> list[FrozenTrial]:
    """Sorts trials: finalists first, with more seeds before fewer, then by the mean.

    Args:
        trials: See `finished`.
        scores: Those of the finalists, by number of the trial.
    """

    def rank(trial: FrozenTrial) -> tuple[int, float]:
        own = scores.get(trial.number, [])
        return len(own), mean(own) if own else 0.0

    # Equal ones keep their order.
    return sorted(trials, key=rank, reverse=True)


def figures_of(study: Study, objective: str) -> dict[str, "Figure"]:
    """What a study has found, in the report's style of figures.

    Args:
        study: With any trials; the validation scores are drawn if there are some.
        objective: Its name in the figures.
    """
    history = visualization.plot_optimization_history(study, target_name=objective)
    history.update_traces({"name": "best so far"}, {"name": "Best Value"})
    slices = visualization.plot_slice(study, target_name=objective)
    # Of each power of ten 1, 2 and 5 alone: all nine digits would lie on each other.
    slices.update_xaxes({"dtick": "D2"}, {"type": "log"})
    drawn = {
        "history": (history, "Trial by trial", "Each trial's score, and the best so far."),
        "slices": (
            slices,
            "Setting by setting",
            "Each trial's score over each of its settings; later trials are darker.",
        ),
    }
    if any(trial.intermediate_values for trial in study.trials):
        validation = visualization.plot_intermediate_values(study)
        validation.update_layout(xaxis_title="updates, per cent", yaxis_title="validation score")
        drawn["validation"] = (
            validation,
            "While they were trained",
            "Validation scores over the share of updates, in per cent; pruned trials end early.",
        )
    for figure, title, caption in drawn.values():
        figure.update_layout(template=TEMPLATE, title=title, meta={"caption": caption}, height=380)
    return {name: figure for name, (figure, *_) in drawn.items()}


def _table(
    tuning: Tuning, ranked: list[FrozenTrial], scores: dict[int, list[float]]
) -> tuple[list[str], list[list[str]]]:
    config = tuning.config
    names = list(searched(config.space))
    rows = []
    for trial in ranked:
        own = scores.get(trial.number, [])
        if trial.state == TrialState.COMPLETE:
            outcome = f"{_score(trial):.2f}"
        else:
            failed = _FAILED in trial.user_attrs
            outcome = "failed" if failed else f"pruned at {trial.last_step} %"
        rows.append(
            [
                trial.user_attrs[_RUN],
                *(_shown(trial.params.get(name, "")) for name in names),
                outcome,
                f"{mean(own):.2f} ({len(own)})" if own else "",
            ]
        )
    head = ["run", *names, _SCORES[config.objective], "mean (seeds)"]
    return head, rows


def winning_parameters(tuning: Tuning, values: dict[str, Value]) -> dict[str, Any]:
    """The parameters of the study's command with those of a trial, as an experiment of its own."""
    given = with_own_experiment(tuning.project / OWN.parent, tuning.params)
    kept = {name: given[name] for name in given if name not in {"tune", "run", "feature_set"}}
    return merged(kept, nested(values))


def _shown(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
