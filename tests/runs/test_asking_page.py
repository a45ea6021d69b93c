"""`kedro ask --web`, in a real browser where there is one. Oracle: what its reader says."""

import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.evaluation.calibration import UNCALIBRATED
from roberta_squad_pipeline.inference.answering import Answer, as_asked
from roberta_squad_pipeline.inference.prediction import Candidate
from roberta_squad_pipeline.runs.asking_page import asking_page, examples_of, serve, shown, slider

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

HOSTILE = "<img src=x onerror='window.hacked=1'></script>"
PASSAGE = f"\N{BRIDGE AT NIGHT} {HOSTILE} The bridge crosses the Isk, not the Wend."
QUESTION = f"Which river? {HOSTILE}"
OWN_THRESHOLD = 0.25


def _candidate(text: str, passage: str, score: float) -> Candidate:
    start = passage.index(text)
    return Candidate(text, start, start + len(text), score)


class Reader:
    """Finds the Isk in every passage; does not see the end of questions about much."""

    trained = SimpleNamespace(
        calibration=UNCALIBRATED.model_copy(update={"threshold": OWN_THRESHOLD})
    )

    def answer_all(self, rows: list[Any]) -> list[Answer]:
        question, passage = as_asked(rows[0], 0)
        if "fail" in question:
            raise RuntimeError("it failed")
        candidates = (_candidate("Isk", passage, 2.0), _candidate("the Wend", passage, 1.0))
        return [Answer("Isk", 0.7, 0.1, -1.5, candidates, 7 if "much" in question else 0)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the page, served by another process until Ctrl-C."""
    questions = tmp_path_factory.mktemp("run") / "questions.parquet"
    start = PASSAGE.index("Isk")
    row = {"question": QUESTION, "passage": PASSAGE, "answers": ["Isk"], "answer_starts": [start]}
    pd.DataFrame([row]).to_parquet(questions)
    said, saying = multiprocessing.Pipe(duplex=False)

    def served() -> None:
        page = asking_page(
            Reader(),  # type: ignore[arg-type]
            name=HOSTILE,
            host="127.0.0.1",
            passage="",
            examples=examples_of(questions),
        )
        serve(page, "127.0.0.1", 0, say=saying.send)

    process = multiprocessing.get_context("fork").Process(target=served)
    process.start()
    assert said.poll(60)
    yield said.recv().split()[0]
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(30)
    assert process.exitcode == 0


@pytest.fixture
def page(chrome: "Chrome", address: str) -> "Page":
    chrome.get(address)
    return Page(chrome)


class Page:
    """The page in the hands of a person."""

    def __init__(self, chrome: "Chrome") -> None:
        self.chrome = chrome

    def text(self, selector: str) -> str:
        text: str = self.chrome.execute_script(
            "return document.querySelector(arguments[0]).textContent", selector
        )
        return text

    def until(self, script: str) -> None:
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.chrome, 30).until(lambda chrome: chrome.execute_script(script))

    def ask(self, passage: str, question: str) -> None:
        """Types both at once, which takes emoji as well, and asks."""
        for name, text in (("passage", passage), ("question", question)):
            self.chrome.execute_script(
                "document.getElementById(arguments[0]).value = arguments[1]", name, text
            )
        self.chrome.find_element("css selector", "[type=submit]").click()
        self.until("return document.getElementById('said').textContent !== 'Reading \u2026'")

    def slide(self, threshold: str) -> None:
        self.chrome.execute_script(
            "const slider = document.getElementById('threshold');"
            "slider.value = slider[arguments[0]] ?? arguments[0];"
            "slider.dispatchEvent(new Event('input'));",
            threshold,
        )


def test_an_answer_is_shown_in_its_passage(page: Page) -> None:
    page.ask(PASSAGE, QUESTION)
    assert page.text("#decision") == "Isk"
    assert page.text("#probabilities").startswith("70 % that the best span is right, 10 % that")
    assert page.text("#marked") == PASSAGE
    assert page.text("#marked mark") == "Isk"
    page.chrome.find_elements("css selector", "#spans button")[1].click()
    assert page.text("#marked mark") == "the Wend"
    assert page.text("#decision") == "Isk"


def test_nothing_becomes_markup(page: Page) -> None:
    page.ask(PASSAGE, QUESTION)
    assert page.chrome.execute_script("return window.hacked") is None
    assert page.text("h1") == f"Ask {HOSTILE}"
    assert page.chrome.find_elements("css selector", "img") == []
    assert page.chrome.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_the_slider_decides_without_the_reader(page: Page) -> None:
    """The no-answer score is -1.5."""
    page.ask(PASSAGE, QUESTION)
    requests = "return performance.getEntriesByType('resource').length"
    asked = page.chrome.execute_script(requests)
    decisions = {}
    for threshold in ("-1.6", "-1.5", "min", "max"):
        page.slide(threshold)
        decisions[threshold] = page.text("#decision")
    abstains = "no answer; the best span would be Isk"
    assert decisions == {"-1.6": abstains, "-1.5": "Isk", "min": abstains, "max": "Isk"}
    page.chrome.find_element("id", "own").click()
    assert page.text("#above") == "0.25, a probability of 56 %"
    assert page.chrome.execute_script(requests) == asked


def test_an_example_of_the_run(page: Page) -> None:
    page.chrome.find_element("id", "example").click()
    page.until("return document.getElementById('decision').textContent")
    assert page.text("#gold") == "Gold answer: Isk."
    assert page.text("#marked mark.gold.predicted") == "Isk"
    page.ask(PASSAGE, "Another?")
    assert page.text("#gold") == ""


def test_what_goes_wrong_is_said(page: Page) -> None:
    page.ask(" ", "Which river?")
    assert page.text("#said").startswith("passage 1: got white space alone; expected a passage")
    page.ask(PASSAGE, "How much?")
    assert page.text("#said") == (
        "The question is too long for this reader: its last 7 tokens were not read."
    )
    page.ask(PASSAGE, "Does it fail?")
    assert page.text("#said") == "It failed; the terminal says why."
    assert not page.chrome.find_element("id", "answer").is_displayed()


def _status(address: str, *request: Any, **headers: str) -> int:
    with closing(HTTPConnection(address.removeprefix("http://"), timeout=30)) as connection:
        connection.request(*request, headers=headers)
        return connection.getresponse().status


def test_requests_that_no_page_of_ours_makes(address: str) -> None:
    """No page from elsewhere may lead a browser here by another name for this machine."""
    assert _status(address, "GET", "/", Host="elsewhere.example") == 400
    for body in (b"{", b"[1]", b"{}", b"\xff"):
        assert _status(address, "POST", "/answer", body) == 400


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}.*--port"):
            serve(None, "127.0.0.1", port, say=print)  # type: ignore[arg-type]


def test_runs_that_were_not_scored_have_no_examples(tmp_path: Path) -> None:
    assert examples_of(tmp_path / "questions.parquet") == []


def test_probabilities_of_all_spans_add_up() -> None:
    """Where all that were kept are shown."""
    answer = Reader().answer_all([(QUESTION, PASSAGE)])[0]
    told = json.loads(json.dumps(shown(answer)))
    assert [probability for *_, probability in told["spans"]] == pytest.approx([0.7, 0.2])


@pytest.mark.parametrize(
    ("calibration", "expected"),
    [
        ({"threshold": OWN_THRESHOLD}, {"least": -9.75, "own": 0.25, "most": 10.25}),
        ({"threshold": None}, {"least": -10, "own": -10, "most": 10}),
        ({"always_answers": True}, {"least": -10, "own": 10, "most": 10}),
    ],
)
def test_infinite_thresholds_stand_at_the_sliders_ends(
    calibration: dict[str, Any], expected: dict[str, float]
) -> None:
    assert slider(UNCALIBRATED.model_copy(update=calibration)) == expected
