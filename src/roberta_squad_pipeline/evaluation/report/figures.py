"""The report's figures, in colours for light and dark backgrounds.

Each has a title, and an explanation under `layout.meta.caption`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from plotly.colors import sample_colorscale
from plotly.graph_objects import Figure
from plotly.subplots import make_subplots

from roberta_squad_pipeline.evaluation.calibration import Calibration
from roberta_squad_pipeline.evaluation.config import NO_ANSWER_THRESHOLD
from roberta_squad_pipeline.evaluation.report.scores import Slice
from roberta_squad_pipeline.evaluation.thresholds import precision_recall, threshold_curve

BLUE, ORANGE, TEAL, PINK, GREY = "#3b82d0", "#e0803a", "#2a9d8f", "#c65b94", "#8b919b"

_F1, _EXACT = BLUE, ORANGE
_ANSWERABLE, _UNANSWERABLE = TEAL, PINK
_POINTS = 600
"""More than a screen shows of one line."""
_BINS = 60
_SMOOTHED_SHARE = 0.04
"""The share of a run's updates over which its loss is averaged."""
_LAYERS_NAMED = 8
_SCORES = {
    "answerable_f1": ("F1, answerable, always answering", TEAL),
    "best_f1": ("best F1", BLUE),
    "exact": ("exact at threshold 0", ORANGE),
}
"""Scores of the validation questions, with their labels and colours."""
_PIXELS_PER_SLICE, _PIXELS_BESIDE_SLICES = 27, 230

_LAYOUT = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "modebar": {"bgcolor": "rgba(0,0,0,0)"},  # else, on a transparent figure, a grey bar
    "font": {"color": GREY, "family": "system-ui, sans-serif", "size": 13},
    "margin": {"l": 56, "r": 16, "t": 64, "b": 48},
    "legend": {"orientation": "h", "x": 0, "y": -0.18, "yanchor": "top"},
    "hoverlabel": {"namelength": -1},
}
_AXIS = {
    "gridcolor": "rgba(139,145,155,0.25)",
    "zeroline": False,
    "automargin": True,
    "title": {"font": {"size": 13}, "standoff": 10},
}
# Without a template, a figure would contain Plotly's, which is longer than most figures.
TEMPLATE = {"layout": {"xaxis": _AXIS, "yaxis": _AXIS} | _LAYOUT}


def threshold_figure(
    questions: pd.DataFrame, metrics: Mapping[str, float], crossfit: Mapping[str, Any]
) -> Figure:
    """Draws exact and F1 over the threshold; marks the recipe's, best and cross-fitted ones.

    Args:
        questions: See `judged`.
        metrics: See `squad_report`.
        crossfit: See `cross_fitted_report`.
    """
    figure = _figure(
        "Scores over the no-answer threshold",
        "Questions with a no-answer score above the threshold are abstained from. The best "
        "thresholds were chosen on these very questions, the cross-fitted ones on half of them.",
        x="no-answer threshold",
        y="per cent",
    )
    odds, answerable = _odds_and_kinds(questions)
    extremes = []
    for name, label, colour in (("f1", "F1", _F1), ("exact", "exact", _EXACT)):
        curve = threshold_curve(questions[name].to_numpy(), odds, answerable)
        kept = _thinned(len(curve.scores), keep=int(curve.scores.argmax()))
        extremes += [curve.scores.min(), curve.scores.max()]
        figure.add_scatter(
            x=curve.thresholds[kept].round(4),
            y=curve.scores[kept].round(3),
            name=label,
            line={"color": colour, "shape": "hv"},
            hovertemplate="%{y:.2f} at %{x:.3f}",
        )
        if f"best_{name}" in metrics:
            figure.add_scatter(
                x=[metrics[f"best_{name}_thresh"]],
                y=[metrics[f"best_{name}"]],
                name=f"best {label}, at {metrics[f'best_{name}_thresh']:.2f}",
                mode="markers",
                marker={"color": colour, "size": 13, "symbol": "star"},
                hovertemplate="%{y:.2f} at %{x:.3f}",
            )
    span = min(extremes), max(extremes)
    _add_vertical(figure, f"chosen, {NO_ANSWER_THRESHOLD:g}", [NO_ANSWER_THRESHOLD], span)
    fitted = [t for t in crossfit.get("f1_thresholds", []) if t is not None]
    if fitted:
        name = "cross-fitted F1, " + " and ".join(f"{t:.2f}" for t in fitted)
        _add_vertical(figure, name, fitted, span, dash="dot")
    return figure


def precision_recall_figure(questions: pd.DataFrame) -> Figure:
    """Draws precision over recall of answers, for every threshold.

    Args:
        questions: See `judged`.
    """
    figure = _figure(
        "Precision and recall",
        "From abstaining everywhere, on the left, to answering everything. “Answerable” counts any "
        "answer to an answerable question as right: how well the no-answer score tells the two "
        "kinds apart. The number is the average precision in per cent.",
        x="recall",
        y="precision",
    )
    odds, answerable = _odds_and_kinds(questions)
    if answerable.any():
        for name, label, colour in (
            ("f1", "F1", _F1),
            ("exact", "exact", _EXACT),
            ("answerable", "answerable", _ANSWERABLE),
        ):
            values = questions[name].to_numpy().astype(np.float64)
            curve = precision_recall(values, odds, answerable)
            kept = _thinned(len(curve.recall))
            figure.add_scatter(
                x=curve.recall[kept].round(4),
                y=curve.precision[kept].round(4),
                name=f"{label}, {100 * curve.average_precision:.1f}",
                line={"color": colour},
                hovertemplate="precision %{y:.3f}, recall %{x:.3f}",
            )
    figure.update_layout(xaxis_range=[0, 1.01], yaxis_rangemode="normal")
    return figure


def no_answer_figure(questions: pd.DataFrame) -> Figure:
    """Draws the distributions of the no-answer scores of answerable and unanswerable questions.

    Args:
        questions: See `judged`.
    """
    figure = _figure(
        "No-answer scores",
        "Right of the threshold the reader abstains. Where the two kinds overlap, no threshold "
        "can part them.",
        x="no-answer score",
        y="questions",
    )
    odds, answerable = _odds_and_kinds(questions)
    edges = np.histogram_bin_edges(odds, _BINS)
    tallest = 0
    for label, kind, colour in (
        ("answerable", answerable, _ANSWERABLE),
        ("unanswerable", ~answerable, _UNANSWERABLE),
    ):
        counts, _ = np.histogram(odds[kind], edges)
        tallest = max(tallest, int(counts.max()))
        figure.add_bar(
            x=((edges[:-1] + edges[1:]) / 2).round(4),
            y=counts,
            width=float(edges[1] - edges[0]),
            name=f"{label} ({int(kind.sum())})",
            marker={"color": colour, "opacity": 0.65, "line": {"width": 0}},
            hovertemplate="%{y} questions near %{x:.2f}",
        )
    name = f"threshold, {NO_ANSWER_THRESHOLD:g}"
    _add_vertical(figure, name, [NO_ANSWER_THRESHOLD], (0, tallest))
    figure.update_layout(barmode="overlay")
    return figure


def calibration_figure(calibration: Calibration) -> Figure:
    """Draws how often the outcomes come true for which both probabilities were given.

    Args:
        calibration: The calibration with both reliabilities.
    """
    figure = _figure(
        "Calibration",
        "Of the questions for which the reader gave a probability of about 0.7, seven in ten "
        "should turn out so: on the diagonal. Both probabilities are shown on passages that they "
        "were not fitted on. The number is the expected calibration error.",
        x="predicted probability",
        y="share that came true",
    )
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": GREY, "dash": "dot", "width": 1.5},
        showlegend=False,
        hoverinfo="skip",
    )
    for label, reliability, colour in (
        ("no answer", calibration.no_answer_reliability, _UNANSWERABLE),
        ("the answer is right", calibration.answer_reliability, _ANSWERABLE),
    ):
        if reliability is None:
            continue
        counts = [one.count for one in reliability.bins]
        figure.add_scatter(
            x=[one.confidence for one in reliability.bins],
            y=[one.share_right for one in reliability.bins],
            customdata=counts,
            name=f"{label}, {reliability.expected_calibration_error:.3f}",
            mode="lines+markers",
            line={"color": colour},
            marker={
                "size": counts,
                "sizemode": "area",
                "sizeref": max(counts) / 20**2,
                "sizemin": 4,
                "opacity": 0.85,
            },
            hovertemplate="predicted %{x:.3f}, came true %{y:.3f}, %{customdata} questions",
        )
    figure.update_layout(xaxis_range=[-0.03, 1.03], yaxis_range=[-0.05, 1.05])
    return figure


def training_figure(curve: Mapping[str, Any] | None) -> Figure:
    """Draws the loss, and below it the learning rate of each layer, over the updates.

    If there were evaluations, the scores on the validation questions are between both.

    Args:
        curve: See `training_curve`; None if this run did not train the reader.
    """
    # Curves of earlier releases have no evaluations.
    evaluated = curve is not None and bool(curve.get("validation", {}).get("update"))
    caption = (
        "The faint line is the loss of each update, the other one its running mean. Below, the "
        "learning rate of each layer, on a logarithmic scale."
    )
    if curve is None:
        caption = "This run did not train its reader, so there is nothing to show."
    elif evaluated:
        caption += (
            " The points are of the validation questions: their loss, and between both their "
            "scores. The dotted line is the update of which the reader has its weights."
        )
    heights = [0.3, 0.35, 0.35] if evaluated else [0.45, 0.55]
    figure = _figure(
        "Training",
        caption,
        x="update",
        y="learning rate",
        height=760 if evaluated else 560,
        rows=len(heights),
        vertical_spacing=0.08,
        row_heights=heights,
    )
    if curve is None:
        return figure
    top = len(heights)
    updates = np.array(curve["update"])
    loss = np.array(curve["loss"], np.float64)
    kept = _thinned(len(updates))
    for name, values, opacity in (("loss", loss, 0.35), ("mean", _running_mean(loss), 1.0)):
        figure.add_scatter(
            x=updates[kept],
            y=values[kept].round(4),
            name=name,
            line={"color": _F1, "width": 1 if opacity < 1 else 2.5},
            opacity=opacity,
            showlegend=False,
            hovertemplate=f"{name} %{{y:.3f}} at update %{{x}}",
            row=top,
            col=1,
        )
    _add_learning_rates(figure, curve)
    if evaluated:
        _add_validation(figure, curve)
    figure.update_yaxes(title_text="loss", row=top, col=1)
    figure.update_layout(yaxis={"type": "log", "exponentformat": "power", "dtick": 1})
    return figure


def slices_figure(slices: Mapping[str, Sequence[Slice]]) -> Figure:
    """Draws the F1 of groups of questions with 95 % intervals, one row per group.

    Args:
        slices: See `slices_of`.
    """
    # The first row is at the bottom.
    upwards = dict(reversed(list(slices.items())))
    sizes = [len(groups) for groups in upwards.values()]
    height = _PIXELS_PER_SLICE * sum(sizes) + _PIXELS_BESIDE_SLICES
    figure = _figure(
        "F1 by kind of question",
        "At the chosen threshold, with 95 % intervals over questions. The number after a name is "
        "how many questions there are of it; lengths are in words.",
        x="F1, per cent",
        y="",
        height=height,
        rows=len(upwards),
        subplot_titles=[f"by {title}" for title in upwards],
        row_heights=[size + 0.6 for size in sizes],
        vertical_spacing=34 / height,
    )
    colours = (PINK, TEAL, ORANGE, BLUE)
    for row, (title, colour) in enumerate(zip(upwards, colours, strict=True), start=1):
        groups = upwards[title]
        means = [group.f1 for group in groups]
        figure.add_scatter(
            x=means,
            y=[f"{group.name} · {group.count}" for group in groups],
            # The page uses these to find the questions of a point.
            meta=title,
            ids=[group.name for group in groups],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [group.interval[1] - group.f1 for group in groups],
                "arrayminus": [group.f1 - group.interval[0] for group in groups],
                "thickness": 1.5,
                "width": 4,
            },
            mode="markers",
            marker={"color": colour, "size": 9},
            showlegend=False,
            customdata=[group.interval for group in groups],
            hovertemplate="F1 %{x:.1f} (%{customdata[0]:.1f} to %{customdata[1]:.1f})",
            row=row,
            col=1,
        )
        # The same margin above the first and below the last, for any number of groups.
        figure.update_yaxes(range=[len(groups) - 0.4, -0.6], row=row, col=1)
    figure.update_annotations(x=0, xanchor="left", font={"size": 13})
    lowest = min((group.interval[0] for groups in slices.values() for group in groups), default=0)
    figure.update_xaxes(range=[max(10 * int(lowest / 10) - 5, -2), 102])
    return figure


def _figure(
    title: str, caption: str, *, x: str, y: str, height: int = 440, **stacked: Any
) -> Figure:
    """An empty figure: of one plot, or of several that share the horizontal axis of the lowest.

    The lowest counts as the first: Kedro-Viz styles a figure's first axes in its own way, and these
    are the ones to be labelled.
    """
    figure: Figure = make_subplots(cols=1, shared_xaxes=True, start_cell="bottom-left", **stacked)
    figure.update_layout(
        template=TEMPLATE,
        title=title,
        meta={"caption": caption},
        height=height,
        hovermode="closest",
        xaxis_title=x,
        yaxis_title=y,
    )
    return figure


def _odds_and_kinds(questions: pd.DataFrame) -> tuple[NDArray[Any], NDArray[Any]]:
    return questions["no_answer_score"].to_numpy(), questions["answerable"].to_numpy()


def _add_vertical(
    figure: Figure,
    name: str,
    places: Sequence[float],
    span: tuple[float, float],
    dash: str = "dash",
) -> None:
    """Draws lines as a trace, since the legend does not show shapes."""
    figure.add_scatter(
        x=[x for place in places for x in (place, place, None)],
        y=[*span, None] * len(places),
        name=name,
        mode="lines",
        line={"color": GREY, "width": 2, "dash": dash},
        hoverinfo="name",
    )


def _add_learning_rates(figure: Figure, curve: Mapping[str, Any]) -> None:
    updates, multiplier = np.array(curve["update"]), np.array(curve["lr_multiplier"])
    # The schedule bends at the end of the warm-up, and is nearly straight elsewhere.
    kept = _thinned(len(updates), keep=int(multiplier.argmax()), most=120)
    kept = kept[multiplier[kept] > 0]
    layers = curve["peak_rates"]
    colours = sample_colorscale([TEAL, ORANGE], len(layers)) if len(layers) > 1 else [TEAL]
    every = -(-len(layers) // _LAYERS_NAMED)
    for number, (layer, peak) in enumerate(layers.items()):
        figure.add_scatter(
            x=updates[kept],
            y=[float(f"{rate:.4g}") for rate in peak * multiplier[kept]],
            name=layer,
            line={"color": colours[number], "width": 1.8},
            # The legend shows only some of many layers, but always the lowest and the highest.
            showlegend=number % every == 0 or number == len(layers) - 1,
            hovertemplate="%{y:.2e} at update %{x}",
            row=1,
            col=1,
        )


def _add_validation(figure: Figure, curve: Mapping[str, Any]) -> None:
    """Loss and scores of the validation questions, and the update that was kept."""
    scored = curve["validation"]
    kept = _thinned(len(scored["update"]))
    updates = np.array(scored["update"])[kept]
    for field, (name, colour), row in (
        ("loss", ("validation loss", PINK), 3),
        *((field, drawn, 2) for field, drawn in _SCORES.items()),
    ):
        figure.add_scatter(
            x=updates,
            y=np.array(scored[field], np.float64)[kept].round(4),
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 1.8},
            hovertemplate=f"{name} %{{y:.3f}} after update %{{x}}",
            row=row,
            col=1,
        )
    figure.add_vline(curve["kept_update"], line_dash="dot", line_color=GREY, row=2, col=1)
    figure.update_yaxes(title_text="validation, per cent", row=2, col=1)


def _running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over neighbouring updates, as far as these have a loss."""
    known = np.isfinite(values).astype(np.float64)
    kernel = np.ones(2 * int(_SMOOTHED_SHARE * len(values) / 2) + 1)
    total = np.convolve(np.nan_to_num(values) * known, kernel, mode="same")
    return total / np.maximum(np.convolve(known, kernel, mode="same"), 1)


def _thinned(count: int, *, keep: int | None = None, most: int = _POINTS) -> NDArray[np.int64]:
    """Evenly spaced indices below `count`, including the first, the last and `keep`."""
    places = np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
    return np.unique(places if keep is None else np.append(places, keep))
