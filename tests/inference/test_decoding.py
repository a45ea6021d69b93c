"""The best spans of a window.

Oracle: all spans tried one by one.
"""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from roberta_squad_pipeline.inference.decoding import Spans, best_spans

logits = st.floats(-10, 10, width=16) | st.sampled_from([0.0, 1.0])


@st.composite
def searches(draw: st.DrawFn) -> dict[str, list]:
    """Windows of one batch; some own no token, where a span may start nowhere."""
    tokens, windows = draw(st.integers(2, 9)), draw(st.integers(1, 3))
    rows = st.lists(
        st.lists(logits, min_size=tokens, max_size=tokens), min_size=windows, max_size=windows
    )
    places: dict[str, list[int]] = {"first_start": [], "last_start": [], "last_end": []}
    for _ in range(windows):
        last_end = draw(st.integers(1, tokens - 1))
        first_start = draw(st.integers(1, last_end))
        places["first_start"].append(first_start)
        places["last_start"].append(draw(st.integers(first_start - 1, last_end)))
        places["last_end"].append(last_end)
    return {"start_logits": draw(rows), "end_logits": draw(rows), **places}


def slow_spans(search: dict[str, list], row: int, max_tokens: int) -> dict[tuple[int, int], float]:
    """Score of every span that is allowed, rounded to 32 bits."""
    start_logits, end_logits = search["start_logits"][row], search["end_logits"][row]
    return {
        (start, end): float(np.float32(start_logits[start] + end_logits[end]))
        for start in range(search["first_start"][row], search["last_start"][row] + 1)
        for end in range(start, search["last_end"][row] + 1)
        if end - start + 1 <= max_tokens
    }


@given(searches(), st.integers(1, 12), st.integers(1, 25))
def test_best_spans_equal_brute_force(
    search: dict[str, list], max_answer_tokens: int, n_best: int
) -> None:
    found = searched(search, max_answer_tokens=max_answer_tokens, n_best=n_best)
    for row in range(len(search["first_start"])):
        allowed = slow_spans(search, row, max_answer_tokens)
        spans = finite(found, row)
        assert len(set(spans)) == len(spans) == min(n_best, len(allowed))
        assert set(spans) <= set(allowed)
        scores = found.score[row].tolist()
        assert scores[: len(spans)] == [allowed[span] for span in spans]
        assert scores[: len(spans)] == sorted(allowed.values(), reverse=True)[:n_best]
        assert all(score == -math.inf for score in scores[len(spans) :])


def searched(search: dict[str, list], *, max_answer_tokens: int, n_best: int) -> Spans:
    start_logits, end_logits = (np.float32(search[f"{at}_logits"]) for at in ("start", "end"))
    first_start, last_start, last_end = (
        np.array(search[name])[:, None] for name in ("first_start", "last_start", "last_end")
    )
    position = np.arange(start_logits.shape[1])
    return best_spans(
        start_logits,
        end_logits,
        may_start=(position >= first_start) & (position <= last_start),
        may_end=position <= last_end,
        max_answer_tokens=max_answer_tokens,
        n_best=n_best,
    )


def finite(found: Spans, row: int) -> list[tuple[int, int]]:
    return [
        (start, end)
        for start, end, score in zip(
            found.start[row].tolist(),
            found.end[row].tolist(),
            found.score[row].tolist(),
            strict=True,
        )
        if score > -math.inf
    ]


def test_a_span_by_hand() -> None:
    """The best end, 4, is too far from the best start, 1, and 0 is no place to start."""
    search = {
        "start_logits": [[9.0, 5.0, -1.0, 4.0, 0.0, 0.0]],
        "end_logits": [[9.0, 0.0, 2.0, 0.0, 7.0, 9.0]],
        "first_start": [1],
        "last_start": [3],
        "last_end": [4],
    }
    found = searched(search, max_answer_tokens=3, n_best=3)
    assert finite(found, 0) == [(3, 4), (1, 2), (2, 4)]
    assert found.score.tolist() == [[11.0, 7.0, 6.0]]


def test_padding_is_never_part_of_a_span() -> None:
    """Logits are minus infinity on padding; there is one span here, and two are wanted."""
    nothing = -math.inf
    logits = {f"{at}_logits": [[0.0, 1.0, nothing]] for at in ("start", "end")}
    search = logits | {"first_start": [1], "last_start": [1], "last_end": [1]}
    found = searched(search, max_answer_tokens=48, n_best=2)
    assert finite(found, 0) == [(1, 1)]
    assert found.score.tolist() == [[2.0, nothing]]
