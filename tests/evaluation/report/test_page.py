"""The page, in a real browser where there is one."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement


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
    assert set(addresses) == {"data:,", "#scores", "#figures", "#asked", "#settings"}


def test_each_passage_is_there_once(page: str) -> None:
    data = json.loads(re.search(r'id="browser-data">(.*?)</script>', page)[1])  # type: ignore[index]
    assert (len(data["passages"]), len(data["questions"])) == (12, 72)
    assert data["questions"][6]["passage"] == 1


@pytest.fixture(scope="module")
def opened(chrome: "Chrome", page: str, tmp_path_factory: pytest.TempPathFactory) -> "Chrome":
    """The report, opened from a file and drawn."""
    _open(chrome, page, tmp_path_factory.mktemp("page") / "report.html")
    return chrome


def _open(chrome: "Chrome", page: str, path: Path) -> None:
    path.write_text(page, encoding="utf-8")
    chrome.get(path.as_uri())
    _drawn(chrome)


def _drawn(chrome: "Chrome") -> None:
    _until(chrome, "return document.body.dataset.drawn")


def _until(chrome: "Chrome", script: str) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(chrome, 60).until(lambda browser: browser.execute_script(script))


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
    opened.execute_script("document.querySelector('button[type=reset]').click()")
    _choose(opened, "order", "file")
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
    assert _all(fresh, "#found")[0].text == "12 of 72 questions, F1 0.0."
    assert _choose(fresh, "question-word", "who") == []
    assert len(_choose(fresh, "outcome", "mistakes")) == 0
    assert len(_choose(fresh, "question-word", "when")) == 12


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


def test_a_filtered_view_has_an_address(fresh: "Chrome", questions: Any) -> None:
    """Oracle: the list before and after; what the address holds was chosen by hand."""
    _choose(fresh, "search", "mill & 3")
    _choose(fresh, "passage-length", "1 to 49 words")
    expected = _choose(fresh, "order", "unsure")
    assert len(expected) > 0
    address = fresh.current_url
    assert address.endswith("#search=mill+%26+3&passage-length=1+to+49+words&order=unsure")
    for reopen in (lambda: fresh.get("about:blank"), lambda: _choose(fresh, "outcome", "wrong")):
        reopen()
        fresh.get(address)
        _drawn(fresh)
        assert [row.text for row in _all(fresh, "#questions .asked")] == expected
    fresh.get(address.partition("#")[0] + "#outcome=unheard-of&order=file")
    assert _all(fresh, "#found")[0].text.startswith("All 72 questions")


def test_a_slice_leads_to_its_questions(fresh: "Chrome", questions: Any) -> None:
    """Oracle: the table of questions. The lowest plot is of windows, its first group of one."""
    from selenium.webdriver import ActionChains

    _choose(fresh, "outcome", "right")
    fresh.execute_script("document.getElementById('figure-slices').scrollIntoView()")
    point = fresh.execute_script(
        "return document.querySelector('#figure-slices .xy .points path').getBoundingClientRect()"
    )
    chain = ActionChains(fresh)
    chain.w3c_actions.pointer_action.move_to_location(
        int(point["x"] + point["width"] / 2), int(point["y"] + point["height"] / 2)
    )
    # Plotly looks for what is pointed at once the pointer has moved.
    chain.pause(0.3).click().perform()
    _until(fresh, "return location.hash === '#number-of-windows=1+window'")
    count = int((questions["windows"] == 1).sum())
    assert _all(fresh, "#found")[0].text.startswith(f"{count} of 72 questions")
    assert fresh.execute_script("return document.activeElement.id") == "asked"


def test_the_filtered_questions_are_saved(fresh: "Chrome", questions: Any, tmp_path: Path) -> None:
    """Oracle: the table of questions."""
    import pandas as pd

    fresh.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    _choose(fresh, "outcome", "partly")
    _all(fresh, "#save")[0].click()
    saved = pd.read_csv(_downloaded(fresh, tmp_path / "questions.csv"), dtype={"id": str})
    expected = questions[questions["outcome"] == "partly"].reset_index(drop=True)
    for name in ("id", "title", "question", "predicted", "outcome", "windows"):
        assert saved[name].tolist() == expected[name].tolist(), name
    assert saved["answers"].tolist() == ["in 1850 | 1850"] * 12
    for name in ("f1", "no_answer_score"):
        assert saved[name].tolist() == pytest.approx(expected[name], abs=1e-4)

    fresh.execute_script(
        """save("cells.csv", [["=1+1", ["@A1", "x"], "\\t=1", "a=b", -1.5, true]])"""
    )
    text = _downloaded(fresh, tmp_path / "cells.csv").read_text(encoding="utf-8-sig")
    assert text == '"\'=1+1","\'@A1 | x","\'\t=1","a=b","-1.5","true"\n'


def _downloaded(chrome: "Chrome", path: Path) -> Path:
    for _ in range(100):
        if path.exists():
            break
        chrome.execute_async_script("setTimeout(arguments[0], 100)")
    return path


def test_the_best_spans_of_a_question(fresh: "Chrome", questions: Any) -> None:
    """Oracle: the table of questions; all probabilities of a question are 1 together."""
    _choose(fresh, "search", "Which town sold mill 3?")
    _all(fresh, ".row")[0].click()
    shown = [span.text.split(maxsplit=1) for span in _all(fresh, ".spans li")]
    (asked,) = questions[questions["id"] == "3.2"].itertuples()
    assert [text for _, text in shown] == ["Anna", "Anna"]
    for (probability, _), expected in zip(shown, asked.span_probabilities, strict=True):
        assert float(probability) == pytest.approx(expected, abs=6e-4)
    whole = asked.no_answer_probability + sum(asked.span_probabilities)
    assert whole == pytest.approx(1)


def test_keys_landmarks_and_names(fresh: "Chrome") -> None:
    """Oracle: what the browser tells a screen reader."""
    from selenium.webdriver.common.keys import Keys

    _choose(fresh, "order", "file")
    row = _all(fresh, ".row")[0]
    row.send_keys(Keys.ENTER)
    assert row.get_attribute("aria-expanded") == "true"
    tree = fresh.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    names: dict[str, list[str]] = {}
    for node in tree:
        if not node["ignored"]:
            names.setdefault(node["role"]["value"], []).append(
                node.get("name", {}).get("value", "")
            )
    for landmark in ("banner", "main", "navigation", "search"):
        assert len(names[landmark]) == 1, landmark
    assert {"Scores", "Figures", "Questions", "Settings"} <= set(names["region"])
    for role in ("combobox", "searchbox", "button", "region", "navigation"):
        assert all(names[role]), role
    levels = [int(heading.tag_name[1]) for heading in _all(fresh, "h1, h2, h3, h4")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    row.send_keys(Keys.ENTER)


def test_settings_are_shown(opened: "Chrome") -> None:
    path, sha256 = (fact.text for fact in _all(opened, "details dd"))
    assert path.startswith("</script><img")
    assert sha256 == "0" * 64


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
