"""The page, in a real browser where there is one."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from roberta_squad_pipeline.evaluation.report.page import figure_page

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")


class Tags(HTMLParser):
    """Collects what a parser makes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_nothing_in_the_data_becomes_markup(page: str) -> None:
    """Every text of the data set tries to; see HOSTILE."""
    tags = Tags(page)
    names = [tag for tag, _ in tags.found]
    assert "img" not in names
    assert names.count("script") == 4
    assert not [name for _, attributes in tags.found for name in attributes if name[:2] == "on"]


def test_no_address_is_asked(page: str) -> None:
    """Oracle: the page's own rule for what it may load, and its tags."""
    tags = Tags(page).found
    (policy,) = (a["content"] for t, a in tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'unsafe-inline';")
    addresses = [a[name] for _, a in tags for name in ("src", "href") if a.get(name)]
    assert set(addresses) == {"data:,", "#scores", "#figures", "#asked"}


def test_each_passage_is_there_once(page: str) -> None:
    data = json.loads(re.search(r'id="browser-data">(.*?)</script>', page)[1])  # type: ignore[index]
    assert (len(data["passages"]), len(data["questions"])) == (12, 72)
    assert data["questions"][6]["passage"] == 1


@pytest.fixture(scope="module")
def chrome() -> "Iterator[Chrome]":
    """A browser without a network."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("there is no Chromium with its driver")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = ChromeOptions()
        options.binary_location = CHROMIUM
        for switch in (
            *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
            *("disable-background-networking", "disable-component-update", "disable-sync"),
            *("window-size=1280,900", f"user-data-dir={folder}"),
        ):
            options.add_argument(f"--{switch}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browser = Chrome(options=options, service=ChromeService(DRIVER))
        yield browser
        browser.quit()


@pytest.fixture(scope="module")
def opened(chrome: "Chrome", page: str, tmp_path_factory: pytest.TempPathFactory) -> "Chrome":
    """The report, opened from a file and drawn."""
    _open(chrome, page, tmp_path_factory.mktemp("page") / "report.html")
    return chrome


def _open(chrome: "Chrome", page: str, path: Path) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    path.write_text(page, encoding="utf-8")
    chrome.get(path.as_uri())
    WebDriverWait(chrome, 60).until(
        lambda browser: browser.execute_script("return document.body.dataset.drawn")
    )


def _all(chrome: "Chrome", selector: str) -> "list[WebElement]":
    return chrome.find_elements("css selector", selector)


def _choose(chrome: "Chrome", control: str, value: str) -> list[str]:
    """Sets a control as a person would; returns the questions then listed."""
    from selenium.webdriver.support.wait import WebDriverWait

    chrome.execute_script(
        "const control = document.getElementById(arguments[0]);"
        "control.value = arguments[1];"
        "document.getElementById('found').textContent = '';"
        "for (const event of ['input', 'change']) control.dispatchEvent(new Event(event));",
        control,
        value,
    )
    WebDriverWait(chrome, 10).until(lambda _: _all(chrome, "#found")[0].text)
    return [row.text for row in _all(chrome, "#questions .asked")]


@pytest.fixture
def fresh(opened: "Chrome") -> "Chrome":
    """The report with nothing searched for."""
    for control, value in (("search", ""), ("outcome", ""), ("word", ""), ("order", "file")):
        _choose(opened, control, value)
    return opened


def test_it_opens_and_draws_without_complaint(opened: "Chrome") -> None:
    assert opened.get_log("browser") == []  # type: ignore[no-untyped-call]
    drawn = {place.get_attribute("id") for place in _all(opened, ".plot:has(svg.main-svg)")}
    names = ("threshold", "no_answer", "precision_recall", "calibration", "training", "slices")
    assert drawn == {f"figure-{name}" for name in names}
    assert opened.execute_script("return window.hacked") is None
    assert opened.title.startswith("mills </script>")


def test_the_table_shows_the_scores(opened: "Chrome", scored: dict[str, Any]) -> None:
    """Oracle: the official report."""
    rows = {row.text.split()[0]: row.text for row in _all(opened, ".scores tr")}
    for name, value in scored["metrics"].items():
        shown = str(value) if name.endswith("total") else f"{value:.2f}"
        assert shown in rows[name].split(), name


def test_search_and_filters(fresh: "Chrome") -> None:
    """Oracle: by hand, see ASKED."""
    assert len(_choose(fresh, "search", "mill 11 built")) == 6  # in the passage, too
    assert _choose(fresh, "search", "town 11?") == ["Which town sold mill 11?"]
    assert _choose(fresh, "search", "<b>nothing</b>") == []
    assert _all(fresh, "#found")[0].text == "0 of 72 questions."
    _choose(fresh, "search", "")
    assert _choose(fresh, "outcome", "missed") == [
        f"How many people worked in mill {n}?" for n in range(12)
    ]
    assert _choose(fresh, "word", "who") == []
    assert len(_choose(fresh, "outcome", "mistakes")) == 0
    assert len(_choose(fresh, "word", "when")) == 12


def test_order_and_more(fresh: "Chrome", questions: Any) -> None:
    """Oracle: the table of questions, sorted by pandas."""
    for order, column, ascending in (
        ("f1", "scored_f1", True),
        ("unanswerable", "no_answer_score", False),
        ("sure", "answer_probability", False),
    ):
        shown = _choose(fresh, "order", order)
        expected = questions.sort_values(column, ascending=ascending, kind="stable")["question"]
        assert shown == expected.tolist()[:50]
    fresh.execute_script("document.getElementById('more').click()")
    assert len(_all(fresh, "#questions .row")) == 72
    assert not _all(fresh, "#more")[0].is_displayed()


def test_gold_and_predicted_spans_are_marked(fresh: "Chrome") -> None:
    """Oracle: by hand, see ASKED; characters beyond 16 bits stand before the spans."""
    expected = {
        "Who built mill 3?": [("Anna 😀 Ødegård", "gold predicted")],
        "When was mill 3 built?": [
            ("built ", "predicted"),
            ("in ", "gold predicted"),
            ("1850", "gold predicted"),
        ],
        "Which town sold mill 3?": [("Anna", "predicted"), ("Bergen", "gold")],
        "Is mill 3 old?": [("1850", "predicted")],
    }
    for question, marks in expected.items():
        assert question in _choose(fresh, "search", question)
        (row,) = (row for row in _all(fresh, ".row") if row.text.startswith(question))
        row.click()
        found = [
            (m.get_property("textContent"), m.get_attribute("class"))
            for m in row.find_elements("xpath", "..//mark")
        ]
        assert found == marks, question
        passage = row.find_element("xpath", "..//p[@class='passage']").get_property("textContent")
        assert "</script><img src=x onerror=" in str(passage)
        row.click()
        assert not row.find_elements("xpath", "..//mark")
    assert fresh.execute_script("return window.hacked") is None


def test_both_colour_schemes(opened: "Chrome") -> None:
    """Oracle: text is darker than the page in light, lighter in dark, in figures, too."""
    from selenium.webdriver.support.wait import WebDriverWait

    def brightness(selector: str, property_: str) -> int:
        style = "getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
        colour = opened.execute_script(f"return {style}", selector, property_)
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    for scheme, sign in (("dark", 1), ("light", -1)):
        opened.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        page = brightness("body", "backgroundColor")
        assert sign * (brightness("h1", "color") - page) > 300
        # Plotly draws anew in its own time.
        WebDriverWait(opened, 20).until(
            lambda _, sign=sign, page=page: (
                sign * (brightness("#figure-threshold .xtick text", "fill") - page) > 300
            )
        )


def test_a_phone_needs_no_sideways_scrolling(opened: "Chrome") -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        # Plotly shrinks its figures in its own time.
        WebDriverWait(opened, 20).until(
            lambda page: page.execute_script("return document.documentElement.scrollWidth") <= 390
        )
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_figure_stands_alone(
    chrome: "Chrome", drawn: "dict[str, Figure]", tmp_path: Path
) -> None:
    _open(chrome, figure_page("slices", drawn["slices"]), tmp_path / "slices.html")
    assert chrome.get_log("browser") == []  # type: ignore[no-untyped-call]
    assert len(_all(chrome, ".plot svg.main-svg")) > 0
