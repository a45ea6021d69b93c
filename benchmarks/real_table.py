"""One report of all runs that `real_readers.py` kept."""

import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from real_runs import RESULTS, data_record, kept_scores, read_sample, sample_split

from roberta_squad_pipeline.evaluation.scoring import QuestionScores
from roberta_squad_pipeline.squad.dataset import SquadDataset

RECIPE, BASELINE = "recipe", "baseline"
"""Names of the runs that others are compared with: on the dev file, and on folds."""
RESAMPLES = 1000
MEASURES = {
    "answerable_f1": "F1 of answerable questions, always answering",
    "best_f1": "best F1",
    "auc": "no-answer AUC",
}

Run = dict[str, Any]
Measure = Callable[[QuestionScores, np.ndarray, np.ndarray], float]
"""Of the questions with these indices: their scores, their no-answer scores, the indices."""


def write_table() -> None:
    """Writes the report and its figure, dated today.

    Raises:
        SystemExit: There are no runs, or one is of other data.
    """
    paths = sorted(RESULTS.glob("*/*.json"))
    runs = [json.loads(path.read_bytes()) | {"file": path} for path in paths]
    # Those have another dev file, and a report of their own.
    runs = [run for run in runs if not run.get("documents")]
    if not runs:
        raise SystemExit(f"there are no runs in {RESULTS}")
    runs.sort(key=lambda run: (*_budget(run), run["name"], run["seed"]))
    reported = [run for run in runs if run["fold"] is None]
    folds = [run for run in runs if run["fold"] is not None]
    path = RESULTS.with_name(f"real_readers_{time.strftime('%Y-%m-%d')}.md")
    parts = ["# Readers of real passages, beside Hugging Face's recipe", _surroundings(runs)]
    for budget, group in groupby(reported, _budget):
        parts += [f"## {_title(budget)}", *_comparison(list(group))]
    if reported:
        _draw(reported, path.with_suffix(".png"))
        parts += ["## Curves", f"![Scores while training]({path.with_suffix('.png').name})"]
    if folds:
        parts += ["## Settings, chosen on folds", *_folds(folds)]
    parts += ["## Commands", _commands(runs)]
    path.write_text("\n\n".join(parts) + "\n")
    print(path)


def _budget(run: Run) -> tuple[str, str, int]:
    """Runs that can be compared: on a device, of an encoder, with as many updates."""
    return run["device"], run["encoder"], run["updates"]


def _title(budget: tuple[str, str, int]) -> str:
    device, encoder, updates = budget
    return f"{encoder}, {updates} updates of 16 windows, on {device}"


def _surroundings(runs: Sequence[Run]) -> str:
    machines = sorted({run["machine"] for run in runs})
    commits = sorted({run["commit"] for run in runs})
    return (
        "`python benchmarks/real_readers.py table`, from the runs kept in "
        f"[real_readers](real_readers). Commits: {', '.join(commits)}.\n\n"
        + "\n".join(f"- {machine}" for machine in machines)
    )


def _comparison(runs: list[Run]) -> list[str]:
    groups = {name: list(group) for name, group in groupby(runs, lambda run: run["name"])}
    rows = [_row(name, group) for name, group in groups.items()]
    single = [_row(f"{run['name']}, seed {run['seed']}", [run]) for run in runs]
    titles = (
        "run",
        "seeds",
        MEASURES["answerable_f1"],
        "exact of these",
        MEASURES["best_f1"],
        "answered at that threshold, %",
        "cross-fitted F1",
        MEASURES["auc"],
        "the same, cross-fitted",
        "training, s",
        "memory, MB",
    )
    parts = [
        "Mean, and least to greatest over seeds. Best F1 and AUC are of the questions that the "
        "threshold and the weights of a combined no-answer score were fitted on; for the "
        "cross-fitted figures they were fitted on other passages. Time and memory are those of "
        "runs beside which nothing else ran.",
        _markdown(titles, rows),
        _markdown(
            ("run", *(titles[2:7]), "its 95 % interval", *titles[7:]),
            [_with_interval(row, run) for row, run in zip(single, runs, strict=True)],
        ),
    ]
    others = [name for name in groups if name != RECIPE]
    if RECIPE in groups and others:
        parts += [
            "Difference to the recipe, of the means over seeds, with a 95 % interval of a paired "
            f"bootstrap over passages ({RESAMPLES} resamples):",
            _markdown(
                ("run", *MEASURES.values()),
                [[name, *_differences(groups[name], groups[RECIPE])] for name in others],
            ),
        ]
    return parts


def _row(name: str, runs: Sequence[Run]) -> list[str]:
    def shown(values: Iterable[float], digits: int = 1) -> str:
        listed = list(values)
        mean = f"{statistics.mean(listed):.{digits}f}"
        if len(listed) == 1:
            return mean
        return f"{mean} ({min(listed):.{digits}f} to {max(listed):.{digits}f})"

    def scores(key: str, digits: int = 1) -> str:
        return shown((run["scores"][key] for run in runs), digits)

    return [
        name,
        str(len(runs)),
        scores("answerable_f1"),
        scores("answerable_exact"),
        scores("best_f1"),
        scores("answered"),
        scores("crossfit_f1"),
        scores("auc", 3),
        scores("crossfit_auc", 3),
        *(
            shown((run[key] for run in runs), 0) if all(run["alone"] for run in runs) else ""
            for key in ("training_seconds", "peak_memory_mb")
        ),
    ]


def _with_interval(row: list[str], run: Run) -> list[str]:
    low, high = run["scores"]["crossfit_f1_interval"]
    return [row[0], *row[2:7], f"{low:.1f} to {high:.1f}", *row[7:]]


def _differences(ours: Sequence[Run], theirs: Sequence[Run]) -> list[str]:
    dataset, _ = _reported_data()
    mine, recipe = ([_scored(run, dataset) for run in runs] for runs in (ours, theirs))
    return [_difference(mine, recipe, dataset, measure) for measure in _MEASURED.values()]


def _difference(
    ours: Sequence[tuple[QuestionScores, np.ndarray]],
    theirs: Sequence[tuple[QuestionScores, np.ndarray]],
    dataset: SquadDataset,
    measure: Measure,
) -> str:
    ends = np.cumsum([len(passage.questions) for passage in dataset.passages])
    passages = np.split(np.arange(ends[-1]), ends[:-1])

    def difference(questions: np.ndarray) -> float:
        mine, recipe = (
            statistics.mean(measure(scores, odds, questions) for scores, odds in side)
            for side in (ours, theirs)
        )
        return mine - recipe

    rng = np.random.default_rng(0)
    resampled = [
        difference(
            np.concatenate(
                [passages[drawn] for drawn in rng.integers(len(passages), size=len(passages))]
            )
        )
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(resampled, [2.5, 97.5])
    digits = 3 if measure is _auc else 1
    return (
        f"{difference(np.arange(ends[-1])):+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
    )


@cache
def _reported_data() -> tuple[SquadDataset, str]:
    split = sample_split(None)
    return read_sample(split.dev), data_record(split)["dev"]["sha256"]


def _scored(run: Run, dataset: SquadDataset) -> tuple[QuestionScores, np.ndarray]:
    _, sha256 = _reported_data()
    if run["data"]["dev"]["sha256"] != sha256:
        raise SystemExit(f"{run['file']} is a run on another dev file")
    return kept_scores(run["file"], dataset)


def _answerable_f1(scores: QuestionScores, _odds: np.ndarray, questions: np.ndarray) -> float:
    return 100 * float(scores.f1[questions][scores.answerable[questions]].mean())


def _best_f1(scores: QuestionScores, odds: np.ndarray, questions: np.ndarray) -> float:
    return scores.of(questions).best_threshold(scores.f1[questions], odds[questions]).score


def _auc(scores: QuestionScores, odds: np.ndarray, questions: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(~scores.answerable[questions], odds[questions]))


_MEASURED: dict[str, Measure] = dict(zip(MEASURES, (_answerable_f1, _best_f1, _auc), strict=True))


def _folds(runs: list[Run]) -> list[str]:
    """Runs of a name together, beside the baseline on the same folds with the same seeds."""
    parts = [
        "Trained on two thirds of the training articles and scored on the others: means over the "
        f"folds, and in brackets the mean difference to `{BASELINE}` on the same ones. No article "
        "of the dev file is in a choice.",
    ]
    for budget, group in groupby(runs, _budget):
        named = {name: list(same) for name, same in groupby(group, lambda run: run["name"])}
        baseline = {_place(run): run for run in named.get(BASELINE, [])}
        rows = [_fold_row(name, same, baseline) for name, same in named.items()]
        titles = ("run", "change", "folds (seeds)", *MEASURES.values())
        parts += [f"### {_title(budget)}", _markdown(titles, rows)]
    return parts


def _fold_row(name: str, runs: list[Run], baseline: dict[tuple[int, int], Run]) -> list[str]:
    others = [baseline.get(_place(run)) for run in runs]
    places = ", ".join(f"{run['fold']} ({run['seed']})" for run in runs)
    return [
        name,
        _change(runs[0], others[0]),
        places,
        *(_fold_score(runs, others, measure) for measure in MEASURES),
    ]


def _place(run: Run) -> tuple[int, int]:
    return run["fold"], run["seed"]


def _change(run: Run, baseline: Run | None) -> str:
    """What it was given that the baseline was not."""
    shared = baseline["changes"] if baseline and run is not baseline else []
    given = [change for change in run.get("changes", []) if change not in shared]
    if run.get("patch"):
        given.append("a patch of the code, kept with the result")
    return ", ".join(f"`{change}`" for change in given)


def _fold_score(runs: list[Run], others: list[Run | None], measure: str) -> str:
    digits = 3 if measure == "auc" else 1
    mean = f"{statistics.mean(run['scores'][measure] for run in runs):.{digits}f}"
    differences = [
        run["scores"][measure] - other["scores"][measure]
        for run, other in zip(runs, others, strict=True)
        if other is not None and run is not other
    ]
    return f"{mean} ({statistics.mean(differences):+.{digits}f})" if differences else mean


def _commands(runs: Sequence[Run]) -> str:
    listed = [f"{run['command']}  # {run['commit']}" for run in runs]
    return "\n".join(["```sh", *listed, "```"])


def _markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _draw(runs: Sequence[Run], path: Path) -> None:
    """Draws each run's scores over its updates, a row of panels per encoder."""
    from matplotlib import pyplot

    budgets = {budget: list(group) for budget, group in groupby(runs, _budget)}
    figure, panels = pyplot.subplots(
        len(budgets), len(MEASURES), squeeze=False, figsize=(12, 3.2 * len(budgets))
    )
    names = sorted({run["name"] for run in runs})
    for row, ((device, encoder, _), group) in zip(panels, budgets.items(), strict=True):
        for panel, (measure, title) in zip(row, MEASURES.items(), strict=True):
            firsts = {run["name"]: run["file"] for run in reversed(group)}
            for run in group:
                panel.plot(
                    [look["update"] for look in run["curve"]],
                    [look[measure] for look in run["curve"]],
                    color=f"C{names.index(run['name'])}",
                    label=run["name"] if run["file"] in firsts.values() else None,
                )
            panel.set(title=f"{encoder}, {device}: {title}", xlabel="update")
            panel.title.set_fontsize(8)
            panel.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
