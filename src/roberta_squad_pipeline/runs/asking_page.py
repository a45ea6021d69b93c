"""`kedro ask --web`: a page to try a reader, served by this machine to this machine.

It loads nothing from other servers, and shows texts as they are, not as HTML.
"""

import math
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roberta_squad_pipeline.common.errors import InputError, optional
from roberta_squad_pipeline.evaluation.calibration import (
    Calibration,
    span_margin,
    span_probabilities,
)
from roberta_squad_pipeline.evaluation.report.page import gold_spans, render

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

    from roberta_squad_pipeline.api import Reader
    from roberta_squad_pipeline.inference.answering import Answer

THIS_MACHINE = "127.0.0.1"
_AROUND = 10
"""No-answer scores that the slider reaches on either side of the reader's threshold."""
_SHOWN = 5
"""Spans, the best one among them."""

Example = dict[str, Any]


def serve(app: "Starlette", host: str, port: int, *, say: Callable[[str], None]) -> None:
    """Answers browsers until Ctrl-C.

    Args:
        app: See `asking_page`.
        host: The address that it listens at.
        port: 0 takes one that is free.
        say: Prints the page's address once it can be opened.

    Raises:
        InputError: The address is not this machine's, or the port is taken.
    """
    import uvicorn

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(
            where="kedro ask --web",
            got=f"no place to listen at {host}, port {port} ({error.strerror})",
            expected="an address of this machine and a port that is free",
            remedy="Give another --port; 0 takes one that is free.",
        ) from error
    with listening, suppress(KeyboardInterrupt):
        at = f"[{host}]" if ":" in host else host
        say(f"http://{at}:{listening.getsockname()[1]} (Ctrl-C ends it)")
        config = uvicorn.Config(app, lifespan="off", log_level="warning")
        uvicorn.Server(config).run(sockets=[listening])


def asking_page(
    reader: "Reader", *, name: str, host: str, passage: str, examples: list[Example]
) -> "Starlette":
    """The page and what it asks for.

    Args:
        reader: Who answers.
        name: The reader's name on the page.
        host: The address that it is served at; as this machine's own it takes no other name, so
            that no page from elsewhere can lead a browser here.
        passage: What stands there at first.
        examples: See `examples_of`; without any none are offered.

    Raises:
        InputError: There is no starlette or uvicorn.
    """
    with optional("kedro ask --web", "web"):
        import uvicorn  # noqa: F401 - for `serve`
        from starlette.applications import Starlette
        from starlette.concurrency import run_in_threadpool
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.responses import HTMLResponse, JSONResponse, Response
        from starlette.routing import Route
    page = _page(reader, name, passage, offers=bool(examples))

    def show(request: "Request") -> Response:
        return HTMLResponse(page)

    def offer(request: "Request") -> Response:
        return JSONResponse(random.choice(examples))  # noqa: S311 - no secret

    async def answer(request: "Request") -> Response:
        try:
            asked = await request.json()
            [found] = await run_in_threadpool(reader.answer_all, [asked])
        except (InputError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(shown(found))

    own = [host, "localhost"] if host == THIS_MACHINE else ["*"]
    routes = [Route("/", show), Route("/answer", answer, methods=["POST"])]
    if examples:
        routes.append(Route("/example", offer))
    return Starlette(
        routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=own)]
    )


def examples_of(questions: Path) -> list[Example]:
    """The questions that a run was scored on, with their gold answers.

    Args:
        questions: A run's table of questions; there may be none.
    """
    if not questions.is_file():
        return []
    import pandas as pd

    columns = ["question", "passage", "answers", "answer_starts"]
    return [
        {
            "question": row["question"],
            "passage": row["passage"],
            "gold": gold_spans(row["answers"], row["answer_starts"]),
        }
        for row in pd.read_parquet(questions, columns=columns).to_dict("records")
    ]


def shown(answer: "Answer") -> dict[str, Any]:
    """An answer as the page gets it; it compares score and threshold itself."""
    scores = [candidate.score for candidate in answer.candidates]
    best = answer.candidates[:_SHOWN]
    probabilities = span_probabilities(
        scores[:_SHOWN],
        span_margin(scores),
        right=answer.answer_probability,
        otherwise=1 - answer.answer_probability - answer.no_answer_probability,
    )
    return {
        "no_answer_score": answer.no_answer_score,
        "no_answer_probability": answer.no_answer_probability,
        "question_tokens_cut": answer.question_tokens_cut,
        "spans": [
            (candidate.char_start, candidate.char_end, probability)
            for candidate, probability in zip(best, probabilities, strict=True)
        ],
    }


def _page(reader: "Reader", name: str, passage: str, *, offers: bool) -> str:
    calibration = reader.trained.calibration
    return render(
        "asking.html",
        title=f"Ask {name}",
        signature="A passage, a question, and what the reader makes of both.",
        passage=passage,
        examples=offers,
        threshold=slider(calibration),
        calibration=calibration.no_answer.model_dump(),
        uncalibrated=calibration.uncalibrated,
    )


def slider(calibration: Calibration) -> dict[str, float]:
    """Where the threshold's slider begins and ends, and where it stands at first.

    Its ends stand for infinite thresholds.
    """
    own = calibration.abstains_above
    middle = own if math.isfinite(own) else 0.0
    least, most = middle - _AROUND, middle + _AROUND
    return {"least": least, "own": min(max(own, least), most), "most": most}
