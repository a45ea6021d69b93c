"""One HTML file that holds everything it shows and needs no network.

What comes from a data set reaches the page as JSON in which no `<` is left, and is shown through
`textContent` alone, so that no text in it can become markup or script.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd
from jinja2 import Environment, PackageLoader

from roberta_squad_pipeline.evaluation.questions import OUTCOMES
from roberta_squad_pipeline.evaluation.report.scores import Score, groups_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_TILES = {
    "best_f1": "best F1",
    "cross-fitted f1": "cross-fitted F1",
    "f1": "F1",
    "HasAns_f1": "F1, answerable",
    "NoAns_f1": "F1, unanswerable",
}
_DECIMALS = 4
_SHOWN = {
    name: name.removeprefix("scored_")
    for name in (
        *("id", "question", "outcome", "predicted", "abstains", "scored_f1", "windows"),
        *("no_answer_score", "no_answer_probability", "answer_probability"),
    )
}
"""Columns of the questions' table, and what the page calls them."""


def report_page(
    *,
    run: str,
    signature: str,
    scores: Sequence[Score],
    fitted: Sequence[Score],
    figures: Mapping[str, "Figure"],
    questions: pd.DataFrame,
    settings: Mapping[str, Mapping[str, str]],
) -> str:
    """Writes the report of a run.

    Args:
        run: Its name.
        signature: What the scores were measured on, and how.
        scores: The scorer's figures.
        fitted: The cross-fitted ones.
        figures: In the order in which they are shown, by a name of letters and underscores;
            those without any data are left out.
        questions: See `judged`; the page searches them.
        settings: What the scores depend on: by group, values by name.
    """
    groups = groups_of(questions)
    by_name = {score.name: score for score in [*scores, *fitted]}
    return page_with_figures(
        "report.html",
        figures,
        title=f"{run}: evaluation",
        browser_data=_browser_data(questions, groups),
        heading=run,
        groups=groups,
        settings=settings,
        signature=signature,
        tiles=[(label, by_name[name]) for name, label in _TILES.items() if name in by_name],
        scores=scores,
        fitted=fitted,
    )


def page_with_figures(template: str, figures: Mapping[str, "Figure"], **shown: Any) -> str:
    """Fills in a template that draws figures.

    Args:
        template: Of this folder; it extends page.html.
        figures: In the order in which they are shown, by a name of letters and underscores; each
            with a height, a title and a caption (`layout.meta.caption`). Empty ones are left out.
        shown: What else the template takes.
    """
    drawn = {name: figure for name, figure in figures.items() if figure.data}
    data = {name: json.loads(figure.to_json()) for name, figure in drawn.items()}
    return render(
        template, figures=drawn, figures_data=data, packed_plotly=_packed_plotly(), **shown
    )


def render(template: str, **shown: Any) -> str:
    """Fills in a template of this folder, and escapes what it is filled with."""
    return _templates().get_template(template).render(**shown)


def _browser_data(
    questions: pd.DataFrame, groups: Mapping[str, "pd.Categorical[Any]"]
) -> dict[str, Any]:
    """What the page searches: each passage once, and questions that refer to it by its number."""
    places, passages = questions["passage"].factorize()
    titles = questions["title"][~questions["passage"].duplicated()]
    parts = (questions[f"span_{name}"] for name in ("starts", "ends", "probabilities"))
    columns: dict[str, Any] = {
        "passage": places,
        "groups": list(zip(*(group.codes.tolist() for group in groups.values()), strict=True)),
        "answers": questions["answers"].map(list),
        "gold": list(map(gold_spans, questions["answers"], questions["answer_starts"])),
        "spans": [
            [(int(s), int(e), round(float(p), _DECIMALS)) for s, e, p in zip(*one, strict=True)]
            for one in zip(*parts, strict=True)
        ],
    }
    shown = questions[[*_SHOWN]].round(_DECIMALS).rename(columns=_SHOWN).assign(**columns)
    return {
        "outcomes": OUTCOMES,
        "groups": {title: list(group.categories) for title, group in groups.items()},
        "passages": [
            {"title": title, "text": text} for title, text in zip(titles, passages, strict=True)
        ],
        "questions": shown.to_dict("records"),
    }


def gold_spans(answers: Sequence[str], starts: Sequence[int]) -> list[list[int]]:
    """Where answers begin and end, each place once; see `question_table`."""
    # Answers whose place is not known come last.
    placed = zip(answers, starts, strict=False)
    spans = {(int(start), int(start + len(text))) for text, start in placed}
    return [list(span) for span in sorted(spans)]


@cache
def _templates() -> Environment:
    templates = Environment(loader=PackageLoader(__package__, "."), autoescape=True)
    templates.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return templates


@cache
def _packed_plotly() -> str:
    from plotly.offline import get_plotlyjs

    return base64.b64encode(zlib.compress(get_plotlyjs().encode(), 9)).decode()
