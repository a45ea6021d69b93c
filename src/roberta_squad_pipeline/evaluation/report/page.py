"""One HTML file that holds everything it shows and asks no network for anything.

What comes from a data set reaches the page as JSON in which no `<` is left, and is shown through
`textContent` alone, so that no text in it can become markup or script.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline.evaluation.report.questions import OUTCOMES
from roberta_squad_pipeline.evaluation.report.scores import Score

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

_TILES = {
    "best_f1": "best F1",
    "cross-fitted f1": "cross-fitted F1",
    "f1": "F1",
    "HasAns_f1": "F1, answerable",
    "NoAns_f1": "F1, unanswerable",
}
_DECIMALS = 4


def report_page(
    *,
    run: str,
    signature: str,
    scores: Sequence[Score],
    fitted: Sequence[Score],
    figures: Mapping[str, "Figure"],
    questions: "pd.DataFrame",
) -> str:
    """Writes the report of a run.

    Args:
        run: Its name.
        signature: What the scores were measured on, and how.
        scores: The scorer's figures.
        fitted: The cross-fitted ones.
        figures: In the order in which they are shown, by a name of letters and underscores;
            those without any data are left out.
        questions: See `question_table`; they can be searched.
    """
    drawn = {name: figure for name, figure in figures.items() if figure.data}
    body = [
        f"<h1>{escape(run)}</h1>",
        f'<p class="soft">{escape(signature)}</p>',
        '<nav><a href="#scores">Scores</a><a href="#figures">Figures</a>'
        '<a href="#asked">Questions</a></nav>',
        _tiles([*scores, *fitted]),
        _table(scores, fitted),
        '<h2 id="figures">Figures</h2>',
        "<noscript><p>The figures and the questions need JavaScript.</p></noscript>",
        f'<div class="figures">{"".join(map(_place, drawn, drawn.values()))}</div>',
        _resource("questions.html"),
    ]
    return _page(f"{run}: evaluation", "\n".join(body), drawn, _browser_data(questions))


def figure_page(name: str, figure: "Figure") -> str:
    """Writes one figure as a page of its own.

    Args:
        name: Of letters and underscores.
        figure: The figure.
    """
    return _page(name, _place(name, figure), {name: figure}, {})


def _page(
    title: str, body: str, figures: Mapping[str, "Figure"], browser: Mapping[str, Any]
) -> str:
    parts = {
        "title": escape(title),
        "css": _resource("page.css"),
        "body": body,
        "figures": _json({name: json.loads(f.to_json()) for name, f in figures.items()}),
        "browser": _json(browser),
        "plotly": _packed_plotly(),
        "js": _resource("page.js"),
    }
    # In one pass, so that nothing that is filled in is looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], _resource("page.html"))


def _tiles(scores: Sequence[Score]) -> str:
    by_name = {score.name: score for score in scores}
    tiles = [
        f'<div class="card tile"><span class="soft">{escape(label)}</span>'
        f"<b>{score.value:.1f}</b>{_interval_line(score)}</div>"
        for name, label in _TILES.items()
        if (score := by_name.get(name)) is not None
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _interval_line(score: Score) -> str:
    return f'<span class="soft">{_interval(score)}</span>' if score.interval else ""


def _table(scores: Sequence[Score], fitted: Sequence[Score]) -> str:
    rows = [_row(score, "") for score in scores] + [_row(score, "fitted") for score in fitted]
    return (
        '<h2 id="scores">Scores</h2>'
        '<p class="soft">What the official scorer prints, in per cent, with 95 % intervals over '
        "questions; the coloured rows are those that one may report.</p>"
        '<div class="card scores"><table><tr><th>figure</th><th class="number">value</th>'
        f'<th class="number">95 % interval</th><th>what it is</th></tr>{"".join(rows)}'
        "</table></div>"
    )


def _row(score: Score, kind: str) -> str:
    value = str(score.value) if isinstance(score.value, int) else f"{score.value:.2f}"
    return (
        f'<tr class="{kind}"><td>{escape(score.name)}</td><td class="number">{value}</td>'
        f'<td class="number">{_interval(score) if score.interval else ""}</td>'
        f"<td>{escape(score.meaning)}</td></tr>"
    )


def _interval(score: Score) -> str:
    low, high = score.interval or (score.value, score.value)
    return f"{low:.1f} to {high:.1f}"


def _place(name: str, figure: "Figure") -> str:
    return (
        f'<section class="card figure"><h3>{escape(figure.layout.title.text)}</h3>'
        f'<p class="soft">{escape(figure.layout.meta["caption"])}</p>'
        f'<div class="plot" id="figure-{name}" style="min-height:{figure.layout.height}px"></div>'
        "</section>"
    )


def _browser_data(questions: "pd.DataFrame") -> dict[str, Any]:
    """What the page searches: every passage once, and the questions that point to them."""
    places, passages = questions["passage"].factorize()
    titles = questions["title"][~questions["passage"].duplicated()]
    return {
        "outcomes": OUTCOMES,
        "passages": [
            {"title": title, "text": text} for title, text in zip(titles, passages, strict=True)
        ],
        "questions": [
            {
                "id": row["id"],
                "text": row["question"],
                "passage": int(place),
                "outcome": row["outcome"],
                "word": row["question_word"],
                "answers": list(row["answers"]),
                "gold": _spans(row["answers"], row["answer_starts"]),
                "predicted": row["predicted"],
                "span": [row["predicted_start"], row["predicted_end"]],
                "abstains": row["abstains"],
                "f1": round(row["scored_f1"], _DECIMALS),
                "no_answer_score": round(row["no_answer_score"], _DECIMALS),
                "no_answer_probability": round(row["no_answer_probability"], _DECIMALS),
                "answer_probability": round(row["answer_probability"], _DECIMALS),
                "windows": row["windows"],
            }
            for place, row in zip(places, questions.to_dict("records"), strict=True)
        ],
    }


def _spans(answers: Sequence[str], starts: Sequence[int]) -> list[list[int]]:
    ends = (start + len(text) for text, start in zip(answers, starts, strict=True))
    spans = {(int(start), int(end)) for start, end in zip(starts, ends, strict=True)}
    return [list(span) for span in sorted(spans)]


def _json(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    # Within <script> only `<` could end the block; in JSON it stands in strings alone.
    return text.replace("<", "\\u003c")


@cache
def _packed_plotly() -> str:
    from plotly.offline import get_plotlyjs

    return base64.b64encode(zlib.compress(get_plotlyjs().encode(), 9)).decode()


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
