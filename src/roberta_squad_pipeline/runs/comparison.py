"""Tracked runs with what each question scored, and `kedro compare`: runs side by side."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roberta_squad_pipeline.common.arrays import BoolArray, Float64Array, IntArray
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.files import write_text
from roberta_squad_pipeline.common.same_run import differences
from roberta_squad_pipeline.common.tables import table, without_formulas
from roberta_squad_pipeline.evaluation.questions import scores_of
from roberta_squad_pipeline.evaluation.ranking import Behind, behind_the_best
from roberta_squad_pipeline.evaluation.uncertainty import interval_of_mean
from roberta_squad_pipeline.runs.fingerprint import RESOLVED, recipe_params
from roberta_squad_pipeline.runs.parameters import project_parameters
from roberta_squad_pipeline.runs.recording import MEMBERS_TAG, WEIGHTS_TAG
from roberta_squad_pipeline.tracking.store import FinishedRun, finished_runs, load_questions
from roberta_squad_pipeline.tracking.tracker import Journal

_FOLDER = "data/08_reporting/_compared"
_MOST_OF_A_NAME = 200
_SETTINGS = ("updates", "batch_size", "lr", "layer_decay", "seed")
_HEAD = (
    *("run", "steps", "batch", "lr", "decay", "seed", "best F1", "95 % interval"),
    *("behind the best", "fixed", "broke", "settings that differ from the first"),
)


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """A run with the scores of each question at the threshold that is best for its F1."""

    run: FinishedRun
    questions: pd.DataFrame
    """See `judged`."""
    f1: Float64Array
    """0 to 1. Shape: (questions,)"""
    right: BoolArray
    """Whether the answer is an exact match, or abstaining is right. Shape: (questions,)"""
    answers: NDArray[np.object_]
    """The answers; empty if it abstains. Shape: (questions,)"""
    members: tuple[FinishedRun, ...] = ()
    """The runs that trained the members of an ensemble."""

    @property
    def best_f1(self) -> float:
        """In per cent."""
        return float(100 * self.f1.mean())

    @property
    def passages(self) -> IntArray:
        """Number of each question's passage. Shape: (questions,)."""
        return self.questions["passage_number"].to_numpy()

    def setting(self, name: str) -> str:
        """A setting of the training, resolved if it was left open; empty if unknown."""
        params = self.run.params
        return params.get(f"trained_with.{name}", params.get(f"training.{name}", ""))


def measured_run(run: FinishedRun, questions: pd.DataFrame) -> MeasuredRun:
    """Scores the questions of a run at its best threshold.

    Args:
        run: The run.
        questions: See `judged`.
    """
    scores, odds = scores_of(questions), questions["no_answer_score"].to_numpy()
    threshold = scores.best_threshold(scores.f1, odds).threshold
    f1, exact = (scores.at(threshold, values, odds) for values in (scores.f1, scores.exact))
    answers = np.where(odds > threshold, "", questions["predicted"].to_numpy())
    return MeasuredRun(run, questions, f1, exact == 1, answers)


def load_measured(journal: Journal, runs: Sequence[FinishedRun]) -> list[MeasuredRun]:
    """Fetches the scores of each question from MLflow; runs that kept none are left out."""
    tables = ((run, load_questions(journal, run.run_id)) for run in runs)
    return [measured_run(run, table) for run, table in tables if table is not None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs side by side."""

    names: tuple[str, ...]
    signature: str
    """What the scores were measured on."""
    rows: list[tuple[str, ...]]
    """One text per column of the table."""
    changed: pd.DataFrame
    """One row per question that a run fixed or broke, compared with the first."""

    @property
    def title(self) -> str:
        """All names, the first last."""
        return f"{', '.join(self.names[1:])} against {self.names[0]}"

    @property
    def markdown(self) -> str:
        """The table, and what the scores were measured on."""
        return f"{table(_HEAD, self.rows)}\n\n{self.signature}\n"


def compare_runs(project: Path, env: str | None, names: Sequence[str]) -> Comparison:
    """Compares runs with the first of them.

    Args:
        project: The project's folder.
        env: Kedro's environment, which says where runs are recorded.
        names: Names or MLflow ids of two or more runs.

    Raises:
        InputError: There is no such finished run, or they answered different questions.
    """
    journal = project_parameters(project, env, {}).tracking.journal(project)
    known = finished_runs(journal, {})
    return side_by_side([_found(journal, known, name) for name in names])


def side_by_side(runs: Sequence[MeasuredRun]) -> Comparison:
    """Compares runs with the first of them.

    Raises:
        InputError: They answered different questions.
    """
    first, *others = runs
    for run in others:
        if first.questions["id"].tolist() != run.questions["id"].tolist():
            raise InputError(
                where=f"runs {first.run.name} and {run.run.name}",
                got=f"{len(first.f1)} questions, and {len(run.f1)} others",
                expected="runs that were evaluated on the same dev file",
                remedy="Evaluate both on one: kedro run --pipelines download,features,inference,"
                "evaluate --params run=NAME,data.dev=FILE",
            )
    behind = behind_the_best([run.f1[None] for run in runs], first.passages)
    changed = [changed_questions(first, run) for run in others]
    return Comparison(
        names=tuple(run.run.name for run in runs),
        signature=(
            f"Measured on {len(first.f1)} questions at the threshold that is best for the F1 of "
            "each run. A run fixed the questions for which it has an exact match and the first run "
            "has none, and broke those for which it is the other way round."
        ),
        rows=[_row(run, first, lead) for run, lead in zip(runs, behind, strict=True)],
        changed=pd.concat(changed, ignore_index=True),
    )


def changed_questions(first: MeasuredRun, other: MeasuredRun) -> pd.DataFrame:
    """Finds the questions that are an exact match in only one of two runs.

    Returns:
        `change` ("fixed" or "broke", by the other run), both runs' names, answers (empty if they
        abstain) and F1, and the question with its gold answers.
    """
    asked = other.questions
    compared = pd.DataFrame(
        {
            "change": np.where(other.right, "fixed", "broke"),
            "run": other.run.name,
            "against": first.run.name,
            "id": asked["id"],
            "title": asked["title"],
            "question": asked["question"],
            "answers": [" | ".join(answers) for answers in asked["answers"]],
            "answer_against": first.answers,
            "answer": other.answers,
            "f1_against": first.f1,
            "f1": other.f1,
        }
    )
    changed: pd.DataFrame = compared[other.right != first.right]
    return changed.sort_values("change", ascending=False, kind="stable")


def write_comparison(comparison: Comparison, project: Path) -> list[Path]:
    """Writes the table, a page with all changed questions, and a CSV file of these.

    Returns:
        The three files.
    """
    from roberta_squad_pipeline.evaluation.report.page import render

    # Runs can be renamed in MLflow, also to something that is not a valid file name.
    name = re.sub(r"[^A-Za-z0-9._-]", "_", "_vs_".join(comparison.names))[:_MOST_OF_A_NAME]
    folder = project / _FOLDER / f"compared_{name}"
    changed = comparison.changed
    page = render(
        "comparison.html",
        title=comparison.title,
        signature=comparison.signature,
        tables=[("Runs", _HEAD, comparison.rows), *_question_tables(changed)],
    )
    texts = {
        "comparison.md": comparison.markdown,
        "comparison.html": page,
        "questions.csv": without_formulas(changed).to_csv(index=False),
    }
    for file, text in texts.items():
        write_text(folder / file, text)
    return [folder / file for file in texts]


def _question_tables(
    changed: pd.DataFrame,
) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    return [
        (
            f"{len(rows)} questions that {run} {change}",
            ("question", "gold answers", f"answer of {against}", f"answer of {run}", "F1 of both"),
            [
                (
                    row["question"],
                    row["answers"] or "(no answer)",
                    row["answer_against"] or "(abstains)",
                    row["answer"] or "(abstains)",
                    f"{row['f1_against']:.2f}, {row['f1']:.2f}",
                )
                for row in rows.to_dict("records")
            ],
        )
        for (run, against, change), rows in changed.groupby(
            ["run", "against", "change"], sort=False
        )
    ]


def _found(journal: Journal, known: Sequence[FinishedRun], name: str) -> MeasuredRun:
    runs = [run for run in known if name in {run.name, run.run_id}]
    for run in runs:
        for measured in load_measured(journal, [run]):
            trained = {one.tags.get(WEIGHTS_TAG): one for one in known}
            members = (trained[each] for each in _members(run).values() if each in trained)
            return replace(measured, members=tuple(members))
    raise InputError(
        where=f"run {name}",
        got="none that kept what each question scored" if runs else "no finished run of that name",
        expected=f"a run of the MLflow experiment {journal.experiment} that was evaluated",
        remedy="Look at the names with mlflow ui, or run it again: kedro run --params run=NAME",
    )


def _shown(setting: str) -> str:
    """A setting without the excess digits of a floating-point product."""
    try:
        return f"{float(setting):.6g}"
    except ValueError:
        return setting


def _row(run: MeasuredRun, first: MeasuredRun, behind: Behind) -> tuple[str, ...]:
    low, high = interval_of_mean(run.f1, run.passages)
    is_first = run is first
    return (
        run.run.name,
        *(_shown(run.setting(name)) for name in _SETTINGS),
        f"{run.best_f1:.2f}",
        f"{low:.1f} to {high:.1f}",
        lead_text(behind.difference, within_noise=behind.within_noise),
        "" if is_first else str(int((run.right & ~first.right).sum())),
        "" if is_first else str(int((first.right & ~run.right).sum())),
        "; ".join(_settings_that_differ(first, run)),
    )


def lead_text(lead: float, *, within_noise: bool) -> str:
    """How far a row is behind the best, in words and points of F1."""
    if lead == 0:
        return "best"
    return f"{lead:.2f}" + (" (within noise)" if within_noise else "")


def _members(run: FinishedRun) -> dict[str, str]:
    """The members of an ensemble, and short names of their weights."""
    members: dict[str, str] = json.loads(run.tags.get(MEMBERS_TAG, "{}"))
    return members


def _settings_that_differ(first: MeasuredRun, run: MeasuredRun) -> Iterator[str]:
    yield from _differences(first.run, run.run)
    # Of two ensembles, their members' names have to do.
    members = () if first.members and run.members else (*first.members, *run.members)
    for member in members:
        there, here = (member, run.run) if first.members else (first.run, member)
        found = "; ".join(_differences(there, here)) or "no other settings"
        yield f"member {member.name}, seed {member.params.get('training.seed')}: {found}"


def _differences(first: FinishedRun, run: FinishedRun) -> Iterator[str]:
    runs = first, run
    if all("recipe" in one.tags for one in runs):
        there, here = (recipe_params(one.params) for one in runs)
        return differences(there, here)
    # A run that only evaluates knows of the training only what its reader says.
    there, here = map(_comparable, runs)
    common = there.keys() & here.keys()
    return differences(
        {name: there[name] for name in common}, {name: here[name] for name in common}
    )


def _comparable(run: FinishedRun) -> dict[str, str]:
    """Settings in the same words, whether the run trained or only evaluates."""
    params = dict(run.params)
    # A reader records the resolved settings, not those that were left open.
    for name, value in run.params.items():
        dataset, _, setting = name.partition(".")
        left_open = f"{RESOLVED.get(dataset)}.{setting}"
        if left_open in params:
            params[left_open] = value
    if members := _members(run):
        params["reader"] = f"{params['ensemble.kind']} of {', '.join(members)}"
    elif params.get("reader") == "None":
        params["reader"] = run.params.get("run", run.name)
    # Files are compared by content, which squad_files has.
    own = recipe_params(params).items()
    return {name: value for name, value in own if not name.startswith("data.")}
